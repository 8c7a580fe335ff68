from __future__ import annotations

import json

import msgspec
from msgspec.structs import replace

from kubeverdict.render import json as renderer
from kubeverdict.render import tree
from kubeverdict.render.style import Style
from tests.render import reports


def test_a_denial_shows_what_isolates_and_the_nearest_miss() -> None:
    assert tree.explanation(reports.DENIED, Style()).splitlines() == [
        "denied: shop/web[Deployment] → data/db-0 on TCP 80",
        "├─ egress from shop/web[Deployment]: allowed",
        "│  └─ no policy isolates shop/web[Deployment] here",
        "└─ ingress to data/db-0: denied",
        "   ├─ policy data/allow-web (data.yaml:40) isolates it",
        "   │  └─ nearest rule spec.ingress[0] (line 44)",
        "   │     ├─ peer wants app=wep, shop/web-0 has app=web",
        "   │     └─ port 80 is not in TCP 5432",
        "   └─ policy data/deny (data.yaml:3) isolates it and no rule of it allows anything in "
        "this direction",
    ]


def test_an_answer_about_some_of_the_pods_names_them() -> None:
    assert tree.explanation(reports.ALLOWED, Style()).splitlines() == [
        "allowed: shop/web-0 → data/db-0 on TCP 5432 over IPv6 (through svc/data/db sql 5432/TCP)",
        "├─ egress from shop/web-0: allowed",
        "│  └─ no policy isolates shop/web-0 here",
        "└─ ingress to data/db-0: allowed",
        "   └─ allow by policy data/allow-web spec.ingress[0] (data.yaml:44)",
    ]


def test_long_lists_of_pods_are_cut() -> None:
    (answer,) = reports.ALLOWED.answers
    many = replace(answer, sources=tuple(f"shop/web-{n}" for n in range(9)))
    text = tree.explanation(replace(reports.ALLOWED, answers=(many,)), Style())
    assert text.startswith(
        "allowed: shop/web-0, shop/web-1, shop/web-2, shop/web-3 and 5 more → data/db-0"
    )


def test_every_reason_has_a_sentence() -> None:
    from kubeverdict.analyses.decisions import WORDS

    assert {*WORDS.values(), "not-a-pod", "no-local-backend"} == set(tree.REASONS)


def test_whatif() -> None:
    assert tree.whatif(reports.WHATIF, Style()).splitlines() == [
        "opens ports between 4 pod pairs, closes ports between 0; 10 → 14 connected",
        "",
        "opens 1 connection",
        "└─ shop/web[Deployment] → data/db[StatefulSet]  TCP 5432  (4 pod pairs)",
        "   ├─ before: denied; ingress isolated by data/deny (data.yaml:3)",
        "   └─ after: allowed; egress not isolated; "
        "ingress by data/allow-web spec.ingress[0] (data.yaml:44)",
    ]
    assert tree.whatif(reports.NOTHING, Style()) == (
        "nothing changes between pods: 1 pod pair connected"
    )


def test_whatif_of_an_end_that_did_not_exist_and_of_families_apart() -> None:
    (effect,) = reports.WHATIF.opened
    (pairs,) = reports.WHATIF.pairs
    report = replace(
        reports.WHATIF,
        opened=(replace(effect, before=None, pairs=0, family="IPv6"),),
        pairs=(replace(pairs, families=(4,)), replace(pairs, families=(6,), opened=0)),
    )
    lines = tree.whatif(report, Style()).splitlines()
    assert lines[0].startswith("IPv4: opens ports between 4 pod pairs")
    assert lines[1] == "IPv6: nothing changes between pods: 14 pod pairs connected"
    assert "TCP 5432 over IPv6" in lines[4] and "pod pair" not in lines[4]
    assert lines[5].endswith("before: does not exist")


def test_ascii_where_the_terminal_has_no_more() -> None:
    plain = Style(unicode=False)
    assert tree.explanation(reports.DENIED, plain).isascii()
    assert tree.whatif(reports.WHATIF, plain).isascii()


def test_colour_changes_nothing_but_colour() -> None:
    painted = tree.explanation(reports.DENIED, Style(color=True))
    assert "\x1b[31mdenied\x1b[0m" in painted
    assert painted.replace("\x1b[31m", "").replace("\x1b[32m", "").replace(
        "\x1b[0m", ""
    ) == tree.explanation(reports.DENIED, Style())


def test_a_hairpin_is_said() -> None:
    (one,) = reports.ALLOWED.answers
    alone = msgspec.structs.replace(one, destinations=one.sources)
    report = msgspec.structs.replace(reports.ALLOWED, answers=(alone,))
    lines = tree.explanation(report, Style()).splitlines()
    assert lines[1] == "├─ a hairpin: shop/web-0 comes back to itself through the Service"
    (answer,) = json.loads(renderer.explanation(report, Style()))["answers"]
    assert answer["hairpins"] == ["shop/web-0"]
    several = msgspec.structs.replace(alone, sources=("shop/web-0", "shop/web-1"))
    report = msgspec.structs.replace(reports.ALLOWED, answers=(several,))
    assert "├─ a hairpin among them: shop/web-0 comes" in tree.explanation(report, Style())
    assert "hairpin" not in tree.explanation(reports.ALLOWED, Style())
    # Without a Service it is just a pod and itself.
    plain = msgspec.structs.replace(alone, through="")
    report = msgspec.structs.replace(reports.ALLOWED, answers=(plain,))
    assert "hairpin" not in tree.explanation(report, Style())
