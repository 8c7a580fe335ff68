"""Calico's selectors: what is one, where another one is wrong, and what each selects."""

from __future__ import annotations

from random import Random

import pytest

from kubeverdict.manifests.policies.calico_selectors import (
    ALL,
    GLOBAL_SET,
    LOCAL_SET,
    POD,
    KindOfEnd,
    SelectorError,
    lowered,
    parse,
)
from kubeverdict.model.cluster import METADATA_NAME, SERVICE_ACCOUNT


def selects(text: str, labels: dict[str, str], kind: KindOfEnd = POD, namespace: str = "x") -> bool:
    """Whether a selector selects an end with these labels of Calico's."""
    own = {key: value for key, value in labels.items() if not key.startswith("pcns.")}
    account = own.pop("projectcalico.org/serviceaccount", "default")
    if account != "default":
        own[SERVICE_ACCOUNT] = account
    spaces = {key[5:]: value for key, value in labels.items() if key.startswith("pcns.")}
    spaces[METADATA_NAME] = namespace
    return any(
        term.own.matches(own) and term.namespaces.matches(spaces)
        for term in lowered(parse(text), kind).terms
    )


@pytest.mark.parametrize(
    ("text", "yes", "no"),
    [
        ("", {}, None),
        ("  ", {}, None),
        ("all()", {}, None),
        ("!all()", None, {"app": "web"}),
        ("app == 'web'", {"app": "web"}, {"app": "db"}),
        ('app=="it\'s"', {"app": "it's"}, {}),
        ("app != 'web'", {}, {"app": "web"}),
        ("app in {'web', 'db',}", {"app": "db"}, {"app": "x"}),
        ("app in {}", None, {"app": "x"}),
        ("app not in {'web'}", {}, {"app": "web"}),
        ("app notin {}", {"app": "web"}, None),
        ("app contains 'e'", {"app": "web"}, {"app": "x"}),
        ("app starts with 'we'", {"app": "web"}, {"app": "x-we"}),
        ("app ends\twith 'eb'", {"app": "web"}, {}),
        ("has(example.com/app-1)", {"example.com/app-1": ""}, {}),
        ("!has( app )", {}, {"app": "web"}),
        ("!!has(app)", {"app": ""}, {}),
        ("a == '1' || b == '1' && c == '1'", {"a": "1"}, {"c": "1"}),
        ("(a == '1' || b == '1') && c == '1'", {"a": "1", "c": "1"}, {"a": "1"}),
        ("!(a == '1' && b == '1')", {"a": "1"}, {"a": "1", "b": "1"}),
        ("!(a contains '1')", {"a": "2"}, {"a": "21"}),
        ("in == 'x' && not == 'y'", {"in": "x", "not": "y"}, {"in": "x"}),
    ],
)
def test_expressions(text: str, yes: dict[str, str] | None, no: dict[str, str] | None) -> None:
    assert yes is None or selects(text, yes)
    assert no is None or not selects(text, no)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("app = 'web'", "at character 5: '=' is not expected, write =="),
        ("app & b", "at character 5: '&' is not expected, write &&"),
        ("app == 'web", "at character 8: the quote is not closed"),
        ("app == web", "at character 8: a value in quotes is expected, not web"),
        ("app", "at the end: an operator is expected behind the label app"),
        ("app ~ 'x'", "at character 5: '~' is not expected"),
        ("app like 'x'", "at character 5: ==, !=, in, not in, contains, starts with or ends with "
         "is expected, not like"),
        ("app in ('web')", "at character 8: { is expected, not ("),
        ("app in {'a' 'b'}", "at character 13: } is expected, not 'b'"),
        ("app not 'x'", "at character 9: in is expected, not 'x'"),
        ("app starts 'x'", "at character 12: with is expected, not 'x'"),
        ("(app == 'x'", "at the end: ) is expected"),
        ("app == 'x')", "at character 11: && or || or the end is expected, not )"),
        ("app == 'x' &&", "at the end: a label, has(), all() or ( is expected"),
        ("has()", "at character 5: a label is expected, not )"),
        ("has(app", "at the end: ) is expected"),
        ("has (app)", "at character 5: an operator is expected behind the label has, not ("),
        ("== 'x'", "at character 1: a label, has(), all() or ( is expected, not =="),
        (f"{'x' * 513} == 'y'", "at character 1: a label has at most 512 characters"),
        ("(" * 102, "at character 101: too many parentheses, not ("),
    ],
)  # fmt: skip
def test_what_is_no_expression_is_refused_with_its_place(text: str, message: str) -> None:
    with pytest.raises(SelectorError) as caught:
        parse(text)
    assert str(caught.value) == message


def test_labels_that_calico_gives() -> None:
    in_x = {"app": "web", "pcns.team": "X", "projectcalico.org/serviceaccount": "runner"}
    assert selects("projectcalico.org/namespace == 'x'", in_x)
    assert not selects("projectcalico.org/namespace != 'x'", in_x)
    assert selects("pcns.projectcalico.org/name starts with 'x'", in_x)
    assert selects("has(projectcalico.org/namespace) && pcns.team == 'X'", in_x)
    assert selects("projectcalico.org/orchestrator == 'k8s'", in_x)
    assert selects("projectcalico.org/serviceaccount == 'runner'", in_x)
    assert selects("projectcalico.org/serviceaccount != 'default'", in_x)
    assert not selects("projectcalico.org/serviceaccount != 'default'", {})
    assert selects("projectcalico.org/serviceaccount in {'default', 'other'}", {})
    assert selects("projectcalico.org/serviceaccount starts with 'def'", {})
    assert not selects("!(projectcalico.org/serviceaccount contains 'd')", {})
    assert selects("has(projectcalico.org/serviceaccount)", {})


def test_network_sets_lack_some_of_them() -> None:
    feed = {"role": "feed", "pcns.team": "X"}
    assert selects("role == 'feed' && pcns.team == 'X'", feed, LOCAL_SET)
    assert not selects("pcns.team == 'X'", feed, GLOBAL_SET)
    assert selects("pcns.team != 'X'", feed, GLOBAL_SET)
    assert not selects("has(projectcalico.org/namespace)", feed, GLOBAL_SET)
    for kind in (LOCAL_SET, GLOBAL_SET):
        assert not selects("projectcalico.org/orchestrator == 'k8s'", feed, kind)
        assert not selects("has(projectcalico.org/serviceaccount)", feed, kind)
        assert not selects("pcsa.role == 'x'", feed, kind)
        assert selects("pcsa.role != 'x'", feed, kind)


def test_labels_of_service_accounts_are_taken_to_be_as_wanted() -> None:
    for text in ("pcsa.role == 'x'", "!(pcsa.role == 'x')"):
        found = lowered(parse(text), POD)
        assert found.guessed and len(found.terms) == 1
        assert not lowered(parse(text), LOCAL_SET).guessed
    assert not lowered(ALL, POD).guessed


def test_what_mixes_pods_and_namespaces_in_too_many_ways_is_refused() -> None:
    pairs = " && ".join(f"(a{i} == '1' || pcns.b{i} == '1')" for i in range(12))
    with pytest.raises(SelectorError, match="in too many ways"):
        lowered(parse(pairs), POD)
    alone = " && ".join(f"(a{i} == '1' || b{i} == '1')" for i in range(12))
    assert len(lowered(parse(alone), POD).terms) == 1


# --- made-up expressions against a plain reading of them -------------------------------------

KEYS = ("app", "tier", "pcns.team", "projectcalico.org/namespace")
VALUES = ("x", "y", "xy")


def made_up(random: Random, labels: dict[str, str], depth: int = 0) -> tuple[str, bool]:
    """An expression, and whether it selects what has these labels."""
    kind = random.choice(("plain",) * (2 + depth) + ("and", "or", "not"))
    if kind == "not":
        text, holds = made_up(random, labels, depth + 1)
        return f"!({text})", not holds
    if kind in ("and", "or"):
        parts = [made_up(random, labels, depth + 1) for _ in range(random.choice((1, 2, 3)))]
        texts, found = zip(*parts, strict=True)
        sign, whole = (" && ", all) if kind == "and" else ("||", any)
        return f"({sign.join(texts)})", whole(found)
    key, value, other = random.choice(KEYS), random.choice(VALUES), random.choice(VALUES)
    has = labels.get(key)
    plain: list[tuple[str, bool]] = [
        (f"{key} == '{value}'", has == value),
        (f'{key} != "{value}"', has != value),
        (f"{key} in {{'{value}','{other}'}}", has in (value, other)),
        (f"{key} not in {{'{value}' , '{other}'}}", has not in (value, other)),
        (f"has({key})", has is not None),
        (f"{key} contains '{value}'", has is not None and value in has),
        (f"{key} starts with '{value}'", has is not None and has.startswith(value)),
        (f"{key} ends with '{value}'", has is not None and has.endswith(value)),
        ("all()", True),
    ]
    return random.choice(plain)


@pytest.mark.parametrize("seed", range(20))
def test_made_up_expressions(seed: int) -> None:
    random = Random(seed)
    selected = 0
    for _ in range(100):
        labels = {key: random.choice(VALUES) for key in KEYS if random.random() < 0.7}
        labels["projectcalico.org/namespace"] = namespace = random.choice(VALUES)
        text, holds = made_up(random, labels)
        labels.pop("projectcalico.org/namespace")
        assert selects(text, labels, namespace=namespace) is holds, (text, labels, namespace)
        selected += holds
    assert 20 < selected < 80
