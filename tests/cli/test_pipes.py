"""Input from named pipes, in every verb: as ``-f <(kubectl get …)`` gives it."""

from __future__ import annotations

import os
from pathlib import Path
from threading import Thread

import pytest

from tests.cli.running import DENY, WEB_AND_DB, run


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("list -f PIPE", "shop/web"),
        ("explain -f PIPE --from shop/web --to data/db --port 80", "policy data/deny"),
        ("diff PIPE pods.yaml", "shop/web"),
        ("whatif -f pods.yaml --apply PIPE", "data/deny"),
        ("bulk -f PIPE --delete-each", "networkpolicy/data/deny"),
        ("lint -f PIPE", "Namespace shop"),
    ],
)
def test_a_pipe_is_read_to_its_end(tmp_path: Path, arguments: str, expected: str) -> None:
    (tmp_path / "pods.yaml").write_text(WEB_AND_DB)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = Thread(target=pipe.write_text, args=(f"{WEB_AND_DB}---{DENY}",), daemon=True)
    writer.start()
    done = run(*arguments.replace("PIPE", "pipe").split(), folder=tmp_path)
    assert done.status in (0, 1), done.err
    assert expected in done.out


def test_a_pipe_cannot_be_read_for_results_that_are_kept(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    pipe = tmp_path / "pipe"
    writer = Thread(target=pipe.write_text, args=(f"{WEB_AND_DB}---{DENY}",), daemon=True)
    writer.start()
    done = run("bulk", "-f", "pipe", "--delete-each", "--resume", "kept", folder=tmp_path)
    assert done.status == 2
    assert "--resume: pipe cannot be read again, name a file" in done.err


def test_what_was_passed_over_is_a_note(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(WEB_AND_DB)
    (tmp_path / "node_modules").mkdir()
    done = run("list", "-f", ".", folder=tmp_path)
    assert "note: passed over: ./node_modules (packages); -f PATH reads what it names" in done.err
