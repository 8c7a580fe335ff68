"""The public face is pinned: a change here is a change for users."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import kubeverdict as kv

FACE = {
    "address_ids": ["compiled", "addresses"],
    "compile_cluster": ["cluster", "profile", "static"],
    "count_pairs": ["compiled", "threads"],
    "delta": ["old", "new", "threads"],
    "judge": [
        "compiled",
        "sources",
        "destinations",
        "protocols",
        "ports",
        "family",
        "through_service",
        "threads",
    ],
    "judge_edits": ["workbench", "edits", "focus", "examples", "threads"],
    "load": ["paths", "stdin", "skip_invalid", "namespace", "mapped"],
    "pod_id": ["compiled", "pod"],
    "read_snapshot": ["path"],
    "rows": ["compiled", "plane", "destinations"],
    "workbench": ["compiled"],
    "write_snapshot": ["path", "compiled", "workbench", "remarks"],
}
TYPES = {
    "Cluster",
    "CompiledPolicy",
    "Delta",
    "Edit",
    "InputError",
    "KubeverdictError",
    "Loaded",
    "Outcome",
    "Profile",
    "Protocol",
    "Reason",
    "Session",
    "UsageError",
    "Verdicts",
    "Version",
    "Workbench",
}
VALUES = {"PROFILES", "REFERENCE"}


def test_names() -> None:
    assert set(kv.__all__) == FACE.keys() | TYPES | VALUES


@pytest.mark.parametrize("name", FACE)
def test_parameters(name: str) -> None:
    assert list(inspect.signature(getattr(kv, name)).parameters) == FACE[name]


@pytest.mark.parametrize("name", sorted(TYPES))
def test_types(name: str) -> None:
    assert inspect.isclass(getattr(kv, name))


def test_unknown_names() -> None:
    with pytest.raises(AttributeError, match="no attribute 'enforce'"):
        kv.enforce  # noqa: B018


def test_every_reason_is_negative_and_every_protocol_has_its_number() -> None:
    assert {reason.name: reason.value for reason in kv.Reason} == {
        "NOT_ISOLATED": -1,
        "NO_RULE_MATCHES": -2,
        "SELF": -3,
        "OWN_NODE": -4,
        "NO_ADDRESS": -5,
        "ALWAYS_ICMP": -6,
        "HAIRPIN": -7,
    }
    assert [protocol.name for protocol in kv.Protocol] == ["TCP", "UDP", "SCTP", "ICMP", "OTHER"]


@pytest.mark.parametrize("statement", ["import kubeverdict", "import kubeverdict.cli.main"])
def test_importing_brings_neither_numba_nor_numpy(statement: str) -> None:
    code = f"{statement}; import sys; sys.exit('numpy' in sys.modules or 'numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
