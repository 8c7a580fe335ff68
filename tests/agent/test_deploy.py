"""What lies in bpf/deploy fits the agent that it deploys."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import HTTPError
from urllib.request import urlopen

import click
import numpy as np
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from kubeverdict.manifests.policies import POLICIES, UnreadApi, spellings
from kubeverdict_agent.cli import BPFFS, METRICS, STATE, cli
from kubeverdict_agent.control import modes
from kubeverdict_agent.control.handlers import ALARMS
from kubeverdict_agent.datapath.layout import PacketReason, PodDirection
from kubeverdict_agent.node import privileges
from kubeverdict_agent.observe.metrics import MetricsServer, Sample
from tests.kubernetes.api import Api
from tests.programs.build import program

DEPLOY = Path(__file__).parents[2] / "bpf" / "deploy"
DOCUMENTS = [
    document
    for path in sorted(DEPLOY.glob("*.yaml"))
    if path.name != "kustomization.yaml"
    for document in yaml.safe_load_all(path.read_text())
]

STRICTLY = "?fieldValidation=Strict"


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


def test_the_agent_may_read_what_it_asks_for() -> None:
    named = [one for one in DOCUMENTS if one["metadata"]["name"] == "kubeverdict-agent"]
    [role] = [one for one in named if "rules" in one]
    granted = {
        (group, resource)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        if {*rule["verbs"]} == {"list", "watch"}
    }
    asked = {
        (group, kind.lower() if kind.endswith("s") else spellings(kind)[1])
        for (group, kind), row in POLICIES.items()
        if not isinstance(row, UnreadApi) or row.gap is not None
    }
    asked |= {("", name) for name in ("pods", "namespaces", "nodes", "services")}
    assert granted == asked | {("discovery.k8s.io", "endpointslices")}


def test_roles_only_read() -> None:
    for document in DOCUMENTS:
        for rule in document.get("rules", ()):
            assert set(rule["verbs"]) <= {"get", "list", "watch"}


def test_the_base_has_all_but_what_is_done_by_hand() -> None:
    base = yaml.safe_load((DEPLOY / "kustomization.yaml").read_text())
    others = {"kustomization.yaml", "detach-job.yaml"}
    assert set(base["resources"]) == {path.name for path in DEPLOY.glob("*.yaml")} - others


@pytest.mark.programs
def test_the_api_server_takes_every_object(api_server: Api) -> None:
    """With strict validation; the namespace has to be there for what is in it."""
    filled = json.loads(json.dumps(DOCUMENTS).replace('"NODE"', '"node-1"'))
    space, *others = sorted(filled, key=lambda one: one["kind"] != "Namespace")
    api_server.create(api_server.path_of(space, named=False), space, STRICTLY)
    for document in others:
        path = api_server.path_of(document, named=False)
        api_server.create(path, document, f"{STRICTLY}&dryRun=All")


@pytest.mark.programs
def test_kubectl_builds_the_base() -> None:
    built = subprocess.run(
        [program("kubectl"), "kustomize", str(DEPLOY)], capture_output=True, text=True, check=True
    )
    by_hand = {"kubeverdict-detach"}
    names = {(one["kind"], one["metadata"]["name"]) for one in yaml.safe_load_all(built.stdout)}
    there = {(one["kind"], one["metadata"]["name"]) for one in DOCUMENTS}
    assert names == {(kind, name) for kind, name in there if name not in by_hand}


class Scraped(NamedTuple):
    """What Prometheus sees: the names of metrics, and the values of labels by name and label."""

    names: set[str]
    labels: dict[tuple[str, str], set[str]]


@pytest.fixture(scope="module")
def scraped() -> Scraped:
    counters = np.ones((len(PodDirection), 2, len(PacketReason), 2), np.int64)
    standing = dict.fromkeys(ALARMS, False)
    states = dict.fromkeys(("bound", "waiting", "unknown"), 0)
    sample = Sample(
        counters=counters,
        events_seen=0,
        events_lost=0,
        totals_lost=0,
        hooks_restored=0,
        followers_lost=0,
        generation=1,
        publications=1,
        failures=0,
        flows={4: (1, 10), 6: (1, 10)},
        tables_bytes=1,
        tables_limit=10,
        endpoints=states,
        uncovered=0,
        source_age=0.0,
        alarms=standing,
    )
    server = MetricsServer("127.0.0.1:0", lambda: sample, lambda: "")
    try:
        server.applied(0.1)
        with urlopen(f"http://127.0.0.1:{server.port}/metrics") as answer:
            text = answer.read().decode()
    finally:
        server.close()
    found = Scraped(set(), {})
    for family in text_string_to_metric_families(text):
        for one in family.samples:
            found.names.add(one.name)
            for label, value in one.labels.items():
                found.labels.setdefault((one.name, label), set()).add(value)
    return found


def expressions() -> list[str]:
    rules = yaml.safe_load((DEPLOY / "monitoring" / "alerts.yaml").read_text())
    dashboard = json.loads((DEPLOY / "monitoring" / "dashboard.json").read_text())
    found = [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    found += [one["expr"] for panel in dashboard["panels"] for one in panel["targets"]]
    return [*found, dashboard["templating"]["list"][1]["query"]["query"]]


@pytest.mark.parametrize("expression", expressions())
def test_alerts_and_dashboard_ask_for_metrics_that_there_are(
    scraped: Scraped, expression: str
) -> None:
    asked = set(re.findall(r"kubeverdict_\w+", expression))
    assert asked and asked <= scraped.names
    for name, selector in re.findall(r"(kubeverdict_\w+)\{([^}]*)\}", expression):
        for label, operator, value in re.findall(r'(\w+)(=~|=)"([^"]*)"', selector):
            if label != "instance":  # which Prometheus adds
                assert operator == "=" and value in scraped.labels[name, label]
    for grouped in re.findall(r"by \(([^)]*)\)", expression):
        known = {label for name, label in scraped.labels if name in asked}
        assert {label.strip() for label in grouped.split(",")} <= known | {"instance"}


def test_the_probe_asks_what_the_agent_serves() -> None:
    daemonset = next(one for one in DOCUMENTS if one["kind"] == "DaemonSet")
    (container,) = daemonset["spec"]["template"]["spec"]["containers"]
    asked = container["readinessProbe"]["httpGet"]
    assert f"{asked['host']}:{asked['port']}" == METRICS
    answers = []
    for why in ("waiting: veth1", ""):
        server = MetricsServer("127.0.0.1:0", lambda: None, lambda why=why: why)  # type: ignore
        try:
            with contextlib.suppress(HTTPError):
                with urlopen(f"http://127.0.0.1:{server.port}{asked['path']}") as answer:
                    answers.append(answer.status)
                continue
            answers.append(503)
        finally:
            server.close()
    assert answers == [503, 200]


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
