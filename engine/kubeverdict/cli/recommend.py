"""The verb ``recommend``: policies from flows, and the proof of them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from kubeverdict.cli.flows import check_inputs, flow_logs, say_nothing_judged, traffic_in
from kubeverdict.cli.inputs import (
    check_pods,
    cluster_of,
    say_notes,
    session_of,
    snapshot_in,
)
from kubeverdict.cli.options import input_files, judging
from kubeverdict.cli.output import say, show
from kubeverdict.command.failures import CLEAN, FINDINGS
from kubeverdict.command.running import verb
from kubeverdict.errors import UsageError
from kubeverdict.model.counts import count
from kubeverdict.model.profile import PROFILES

if TYPE_CHECKING:
    from kubeverdict.analyses.recommend import Recommendation
    from kubeverdict.analyses.recommend.proof import Proof
    from kubeverdict.model.cluster import Cluster
    from kubeverdict.model.policy import Policy

_HEADER = "# Recommended by kubeverdict, from connections that were seen.\n"


@verb()
@input_files
@flow_logs
@click.option(
    "--in-namespace",
    "namespaces",
    multiple=True,
    metavar="NS",
    help="Only policies of this namespace; repeatable. Otherwise of all but kube-*.",
)
@click.option(
    "--max-cidrs",
    type=click.IntRange(1),
    default=20,
    show_default=True,
    help="At most so many CIDR blocks in a rule; more addresses are merged.",
)
@click.option("--default-deny", is_flag=True, help="As --baseline deny-all.")
@click.option(
    "--baseline",
    "baselines",
    multiple=True,
    type=click.Choice(["deny-all", "dns", "monitoring", "ingress-controller"]),
    help="A policy for every pod of each namespace; repeatable.",
)
@click.option("--out", metavar="DIR", help="Write the policies to DIR, a file for each namespace.")
@judging("recommend")
def recommend(
    files: tuple[str, ...],
    namespace: str,
    logs: tuple[str, ...],
    columns: str | None,
    namespaces: tuple[str, ...],
    max_cidrs: int,
    default_deny: bool,
    baselines: tuple[str, ...],
    out: str | None,
    output: str,
    cni: str,
    static: bool,
    skip_invalid: bool,
) -> int:
    """Least-privilege policies from flow logs, with the proof of what they do.

    -o yaml prints the policies, --out writes them. They are applied beside those that there are
    and all flows are replayed: what they block (nothing), and what else they permit, by rule.
    Exit status 1 where the proof fails: a connection that is allowed now would be blocked, or a
    selector selects no pod. Nothing is written then.
    """
    from kubeverdict.analyses.finished import with_finished
    from kubeverdict.analyses.recommend import DraftOptions
    from kubeverdict.analyses.recommend import recommend as recommend_
    from kubeverdict.analyses.recommend.permits import Alone
    from kubeverdict.analyses.recommend.proof import Recommended, prove
    from kubeverdict.analyses.replay import log_of
    from kubeverdict.analyses.traffic import LogReading
    from kubeverdict.manifests import Loaded
    from kubeverdict.manifests.resolving import Resolver
    from kubeverdict.model.cluster import Cluster
    from kubeverdict.render.recommend import remarks

    check_inputs(files, logs, ())
    snapshot = snapshot_in(files)
    cluster = cluster_of(snapshot, files, namespace, skip_invalid)
    _check_namespaces(cluster, namespaces)
    whole = with_finished(cluster)
    session = session_of(snapshot, whole, cni, static)
    before = session.now.compiled
    check_pods(before)
    wanted = (*baselines, *(("deny-all",) if default_deny else ()))
    options = DraftOptions(namespaces, max_cidrs, tuple(dict.fromkeys(wanted)))
    reading = LogReading()
    (traffic,) = traffic_in(logs, columns, cluster, reading, None)
    cluster = whole
    found = recommend_(cluster, PROFILES[cni], static, traffic, reading, options)
    texts = _texts(found, out)
    # What is proven is what was written: the policies as the text has them.
    read = tuple(policy for file, text in texts.items() for policy in _read(file, text))
    edit = Resolver(cluster).change(Loaded(Cluster(policies=read)))
    after = session.judge(edit).compiled
    say_notes(after)
    alone = Alone.of(cluster, read, PROFILES[cni], static)
    proof = prove(before, after, alone, traffic)
    written = _write(texts) if out is not None and proof.is_sound else ()
    report = Recommended(found, proof, log_of(reading), written, after.unevaluated)
    if output == "yaml":
        for kind, text in remarks(report):
            say(kind, text)
    show("recommend", output, report)
    if not len(traffic):
        return say_nothing_judged(reading)
    if proof.is_sound:
        return CLEAN
    say("error", _why_unsound(proof) + ("" if out is None else "; nothing was written"))
    return FINDINGS


def _why_unsound(proof: Proof) -> str:
    if not proof.replayed.records:
        return "no connection got through that could be replayed: nothing is proven"
    reasons = []
    if proof.blocked.records:
        reasons.append(f"{count(proof.blocked.connections, 'connection')} would be blocked")
    if proof.selects_nothing:
        number = len(proof.selects_nothing)
        reasons.append(f"{count(number, 'selector selects', 'selectors select')} no pod")
    return f"the proof fails: {', '.join(reasons)}"


def _check_namespaces(cluster: Cluster, namespaces: tuple[str, ...]) -> None:
    known = {namespace.name for namespace in cluster.namespaces}
    for name in namespaces:
        if name not in known:
            raise UsageError(f"--in-namespace {name}: there is no such namespace in the input")


def _texts(found: Recommendation, out: str | None) -> dict[str, str]:
    """The files, by name; those that are not written have the name of their namespace."""
    from kubeverdict.render.policies import policies

    names = dict.fromkeys(policy.namespace for policy in found.policies)
    return {
        os.path.join(out or "", f"{name}.yaml"): _HEADER
        + policies([policy for policy in found.policies if policy.namespace == name])
        for name in names
    }


def _read(file: str, text: str) -> tuple[Policy, ...]:
    from kubeverdict.manifests.loading import load_text

    return tuple(load_text(file, text.encode()).cluster.policies)


def _write(texts: dict[str, str]) -> tuple[str, ...]:
    """Write the files; files that others have written are not replaced."""
    for path in texts:
        try:
            with open(path, encoding="utf-8") as file:
                if file.readline() != _HEADER:
                    raise UsageError(f"--out: {path} exists and was not written by kubeverdict")
        except FileNotFoundError:
            continue
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"--out: {path} cannot be read: {error}") from None
    for path, text in texts.items():
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            raise UsageError(f"--out: {path} cannot be written: {error.strerror}") from None
    return tuple(texts)
