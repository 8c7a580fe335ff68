"""The client, with programs of a few lines in the place of a CNI's."""

from __future__ import annotations

import stat
import sys
from pathlib import Path

import pytest

from tests.oracles.client import Client, EndVerdict, ProgramError, WireProbe

PROBE = WireProbe("shop/cart", "203.0.113.9", "TCP", 443)
HEAD = f"#!{sys.executable}\nimport json, sys\n"
ALLOWING = """
for line in sys.stdin:
    request = json.loads(line)
    answers = [{"egress": {"verdict": "allow", "by": one["from"]}, "ingress": None}
               for one in request["probes"]]
    print(json.dumps({"id": request["id"], "errors": [], "answers": answers}), flush=True)
"""


@pytest.fixture
def made(tmp_path: Path) -> Path:
    return tmp_path / "judge"


def program(path: Path, text: str) -> Path:
    path.write_text(HEAD + text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_requests_are_answered_one_after_the_other(made: Path) -> None:
    with Client(program(made, ALLOWING)) as client:
        for count in (1, 0, 3):
            response = client.ask([], [PROBE] * count)
            assert [one.egress for one in response.answers] == [
                EndVerdict("allow", "shop/cart")
            ] * count
            assert [one.ingress for one in response.answers] == [None] * count
    assert client._process.returncode == 0


def test_a_probe_is_written_in_the_words_of_the_protocol(made: Path) -> None:
    echoing = """
for line in sys.stdin:
    request = json.loads(line)
    text = json.dumps(request, sort_keys=True)
    print(json.dumps({"id": 1, "answers": [{"error": text}]}), flush=True)
"""
    with Client(program(made, echoing)) as client:
        response = client.ask(
            [{"kind": "Pod"}], [WireProbe("a/b", "::1", "ICMP", icmp_type=0, family=6)], {"x": 1}
        )
    assert response.answers[0].error == (
        '{"id": 1, "objects": [{"kind": "Pod"}], "options": {"x": 1}, "probes": [{"family": 6, '
        '"from": "a/b", "icmpType": 0, "protocol": "ICMP", "to": "::1"}]}'
    )


@pytest.mark.parametrize(
    "text, message",
    [
        ("sys.exit('no licence')", "judge ended with status 1: no licence"),
        ("sys.stdin.readline(); sys.exit(3)", "judge ended with status 3"),
        ("print('Hello')", "judge answers 'Hello\\n'"),
        ('print(\'{"id": 1, "error": "bad pod"}\')', "judge: bad pod"),
        (
            "print('{\"id\": 1}')",
            "judge answers 0 probes of request 1, not 1 of request 1",
        ),
        (
            'print(\'{"id": 7, "answers": [{}]}\')',
            "judge answers 1 probes of request 7, not 1 of request 1",
        ),
        ("sys.stdout.write('{'); sys.stdout.flush()", "judge ended with status 0"),
    ],
)
def test_what_goes_wrong_is_said(made: Path, text: str, message: str) -> None:
    reading = "sys.stdin.readline()\n" if "print" in text else ""
    with (
        Client(program(made, reading + text)) as client,
        pytest.raises(ProgramError) as raised,
    ):
        client.ask([], [PROBE])
    assert str(raised.value).startswith(message)


def test_a_program_that_is_not_there(made: Path) -> None:
    with pytest.raises(ProgramError, match="judge cannot be started: "):
        Client(made)


def test_a_program_that_hangs_is_ended(made: Path) -> None:
    sleeping = "import time\ntime.sleep(60)"
    with (
        Client(program(made, sleeping), patience=0.5) as client,
        pytest.raises(ProgramError, match=r"judge did not answer within 0\.5 s"),
    ):
        client.ask([], [PROBE])
    assert client._process.returncode is not None
