"""What lies in bpf/deploy fits the agent that it deploys."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from kubeverdict_agent.cli import BPFFS, STATE, cli
from kubeverdict_agent.control import modes
from kubeverdict_agent.node import privileges

DEPLOY = Path(__file__).parents[2] / "bpf" / "deploy"
DOCUMENTS = [
    document
    for path in sorted(DEPLOY.glob("*.yaml"))
    for document in yaml.safe_load_all(path.read_text())
]


def pod_specs() -> Iterator[dict[str, Any]]:
    for document in DOCUMENTS:
        if document["kind"] in ("DaemonSet", "Job"):
            yield document["spec"]["template"]["spec"]


@pytest.mark.parametrize("spec", list(pod_specs()), ids=lambda spec: spec["containers"][0]["name"])
def test_the_command_line_takes_the_arguments(spec: dict[str, Any]) -> None:
    (container,) = spec["containers"]
    verb, *arguments = container["args"]
    command = cli.commands[verb]
    command.make_context(verb, arguments, resilient_parsing=False)
    assert spec["hostNetwork"], "pods' links are in the node's namespace"
    mounted = {volume["mountPath"] for volume in container["volumeMounts"]}
    assert str(BPFFS.parent) in mounted and {str(STATE), str(STATE.parent)} & mounted


def test_the_agent_has_the_capabilities_that_it_asks_for() -> None:
    daemonset = next(one for one in DOCUMENTS if one["kind"] == "DaemonSet")
    (container,) = daemonset["spec"]["template"]["spec"]["containers"]
    given = container["securityContext"]["capabilities"]
    assert given["drop"] == ["ALL"]
    # SETPCAP is for giving up the others.
    assert {f"CAP_{name}" for name in given["add"]} == {*privileges.NEEDED, "CAP_SETPCAP"}
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert "privileged" not in container["securityContext"]


def test_the_modes_are_settings(tmp_path: Path) -> None:
    config = next(one for one in DOCUMENTS if one["kind"] == "ConfigMap")
    (tmp_path / "modes").write_text(config["data"]["modes"])
    assert modes.read(tmp_path / "modes").lines() == ["*=audit"]


def test_roles_only_read() -> None:
    for document in DOCUMENTS:
        for rule in document.get("rules", ()):
            assert set(rule["verbs"]) <= {"get", "list", "watch"}


def test_the_image_runs_the_agent() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    assert "python3-bpfcc" in text and 'ENTRYPOINT ["kubeverdict-agent"]' in text
    copied = re.findall(r"^COPY (.*) \S+$", text, re.MULTILINE)
    for name in " ".join(copied).split():
        assert (DEPLOY.parents[1] / name).exists(), name


def test_every_verb_says_what_it_does() -> None:
    verbs = {"run", "report", "events", "status", "endpoints", "policy", "flows", "mode"}
    assert set(cli.commands) == {*verbs, "confirm", "check", "detach"}
    for name, command in cli.commands.items():
        with click.Context(command, info_name=name) as context:
            assert command.get_help(context)
