"""Whatever is given to a verb, it ends with an answer or with a sentence and status 2.

Each verb is asked with one argument after the other replaced by something odd; in this process,
as there are many questions.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random

import click
import pytest

from kubeverdict.cli import output
from kubeverdict.cli.main import cli
from kubeverdict.command.failures import exit_with
from kubeverdict.command.running import run
from tests.cli.running import DENY, WEB_AND_DB, Done

# A question to each verb that it answers; ``warmup`` and ``completion`` take nothing to go wrong,
# and ``serve``, which does not end by itself, is asked in tests/server.
ASKED: dict[str, list[str]] = {
    "explain": ["-f", "good", "--from", "shop/web", "--to", "data/db", "--port", "80"],
    "list": ["-f", "good", "--focus", "shop/web", "--direction", "egress"],
    "diff": ["good", "good"],
    "equal": ["good", "good", "--any"],
    "whatif": ["-f", "good", "--apply", "policy.yaml", "--delete", "networkpolicy/data/deny"],
    "bulk": ["-f", "good", "--delete-each", "--port", "80", "--top", "3"],
    "lint": ["-f", "good", "--disable", "dns-selector"],
    "verify": ["-f", "good", "--assertions", "assertions.yaml"],
    "replay": ["-f", "good", "--flows", "flows.csv"],
    "recommend": ["-f", "good", "--flows", "flows.csv", "--out", "out"],
    "snapshot": ["-f", "good", "-o", "kept.kvs"],
    # Nobody answers there.
    "watch": ["--live", "--kubeconfig", "kubeconfig", "--assertions", "assertions.yaml"],
    "examples": ["--copy", "copied"],
}
ODD = [
    *("", "-", "--", "nowhere", "empty", "empty-folder", "good", "cut.kvs", "text.kvs", "loop"),
    *("binary", "deep.json", "deep.yaml", "a/b/c/d", "-1", "0", "99999999999999999999"),
    *("1/2/3", "tcp", "x=y", "=", "10.0.0.1", "::", "\udcff", "ü" * 300, "svc/", "*"),
]
KUBECONFIG = """
clusters: [{name: c, cluster: {server: "https://127.0.0.1:1"}}]
contexts: [{name: c, context: {cluster: c, user: ""}}]
current-context: c
"""
# Of some hundred, as each takes a tenth of a second.
ASKED_OF_EACH = 40


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("odd")
    (folder / "good").write_text(WEB_AND_DB + "---" + DENY)
    (folder / "policy.yaml").write_text(DENY.replace("name: deny", "name: more"))
    (folder / "flows.csv").write_text("source,destination,port\n10.0.0.1,10.0.0.2,80\n")
    (folder / "assertions.yaml").write_text(
        "allow:\n- {name: a, from: {namespace: shop}, to: {namespace: data}, ports: [80]}\n"
    )
    (folder / "kubeconfig").write_text(KUBECONFIG)
    (folder / "empty").touch()
    (folder / "empty-folder").mkdir()
    (folder / "cut.kvs").write_bytes(b"\x89KVS\r\n\x1a\n")
    (folder / "text.kvs").write_text("kind: Pod\n")
    (folder / "loop").symlink_to("loop")
    (folder / "binary").write_bytes(bytes(range(256)) * 9)
    (folder / "deep.json").write_text("[" * 200_000)
    (folder / "deep.yaml").write_text("a: " + "[" * 5_000)
    return folder


def odd_questions(verb: str) -> Iterator[list[str]]:
    asked = ASKED[verb]
    given = [place for place, word in enumerate(asked) if not word.startswith("-")]
    for place in given:
        for odd in ODD:
            yield [*asked[:place], odd, *asked[place + 1 :]]
    for option in cli.commands[verb].params:
        name = option.opts[-1]
        if not isinstance(option, click.Option) or option.is_flag or name in asked:
            continue
        if not set(option.opts) & set(asked):
            for odd in ODD:
                yield [*asked, f"{name}={odd}" if name.startswith("--") else f"{name}{odd}"]


def ended(monkeypatch: pytest.MonkeyPatch) -> Done:
    """The end of a command with the arguments of this process, on streams as Python makes them."""
    out, err = io.BytesIO(), io.BytesIO()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(out, "utf-8"))
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(err, "utf-8", "backslashreplace"))
    output._said.clear()
    with pytest.raises(SystemExit) as end:
        exit_with("kubeverdict", lambda: run(cli, "kubeverdict"))
    assert isinstance(end.value.code, int)
    return Done(end.value.code, out.getvalue().decode(), err.getvalue().decode())


@pytest.mark.parametrize("verb", ASKED)
def test_whatever_is_given(
    verb: str,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for path in folder.iterdir():
        (tmp_path / path.name).symlink_to(path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KUBEVERDICT_DEBUG", "1")
    statuses = set()
    questions = list(odd_questions(verb))
    for arguments in Random(verb).sample(questions, min(ASKED_OF_EACH, len(questions))):
        monkeypatch.setattr(sys, "argv", ["kubeverdict", verb, *arguments])
        done = ended(monkeypatch)
        assert "Traceback" not in done.err and "KUBEVERDICT_DEBUG" not in done.err, ascii(arguments)
        assert done.status in (0, 1, 2), ascii(arguments)
        if done.status == 1:
            assert done.out and "error:" not in done.err, ascii((arguments, done.err))
        if done.status == 2:
            assert done.err.strip() or done.out.strip(), ascii(arguments)
        statuses.add(done.status)
    assert 2 in statuses


def test_every_verb_is_asked() -> None:
    assert cli.commands.keys() - ASKED.keys() == {"warmup", "completion", "serve"}
