"""Which mode applies to whom, and what is said about settings that are wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from kubeverdict.errors import InputError, UsageError
from kubeverdict_agent.control import modes
from kubeverdict_agent.datapath.layout import Mode
from tests.clusters.records import pod

WEB = pod("shop/web-1", workload="web")
DB = pod("data/db-0", workload="db", kind="StatefulSet")


@pytest.mark.parametrize(
    "settings, web, db",
    [
        ([], Mode.AUDIT, Mode.AUDIT),
        (["*=enforce"], Mode.ENFORCE, Mode.ENFORCE),
        (["shop=enforce"], Mode.ENFORCE, Mode.AUDIT),
        (["shop/web=off", "shop=enforce"], Mode.OFF, Mode.AUDIT),
        (["shop/web-1=enforce", "shop/web=off"], Mode.ENFORCE, Mode.AUDIT),
        (["shop=off", "*=enforce"], Mode.OFF, Mode.ENFORCE),
        (["shop=off", "shop=unset", "*=enforce"], Mode.ENFORCE, Mode.ENFORCE),
        # A namespace that is called like a default is only a namespace.
        (["default=enforce"], Mode.AUDIT, Mode.AUDIT),
    ],
)
def test_the_more_specific_setting_wins(settings: list[str], web: Mode, db: Mode) -> None:
    found = modes.parse(settings)
    assert (found.of(WEB), found.of(DB)) == (web, db)


@pytest.mark.parametrize(
    "text",
    ["shop", "=audit", "shop=", "shop=Enforce", "a/b/c=off", "/web=off", "sh*p=off", "*/a=off"],
)
def test_wrong_settings_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"setting|mode|stands alone"):
        modes.parse([text])


def test_a_file_names_every_line_that_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "modes"
    path.write_text("# modes\n\nshop=enforce # since March\ndata=on\n*=audit\nnonsense\n")
    with pytest.raises(InputError) as caught:
        modes.read(path)
    assert [(problem.file, problem.line) for problem in caught.value.problems] == [
        (str(path), 4),
        (str(path), 6),
    ]
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="cannot be read"):
        modes.read(path)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    settings = modes.parse(["shop=enforce", "shop/web=off", "*=audit"])
    modes.write(tmp_path / "modes", settings)
    assert modes.read(tmp_path / "modes") == settings
    assert [path.name for path in tmp_path.iterdir()] == ["modes"]
    assert modes.read(tmp_path / "missing") == modes.Modes()


def test_later_settings_stand_over_earlier_ones() -> None:
    flags, live = modes.parse(["shop=audit", "data=off"]), modes.parse(["shop=enforce"])
    assert live.over(flags).lines() == ["data=off", "shop=enforce"]


def test_settings_about_nothing_are_named() -> None:
    settings = modes.parse(["shop=enforce", "shpo=enforce", "shop/wbe=off", "shop/web-1=off"])
    assert modes.unmatched(settings, [WEB, DB]) == ["shop/wbe", "shpo"]
