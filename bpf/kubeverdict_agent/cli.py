"""The agent's command line: arguments to calls.

Data goes to standard output, notes and logs to standard error. Exit status: 0 clean, 1 findings
(denials in a report, something missing in a check, an alarm in the status), 2 wrong usage or
input, or an agent that cannot start.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
import msgspec

from kubeverdict.command.cni import CniName
from kubeverdict.command.failures import CLEAN, FINDINGS, write_out
from kubeverdict.command.running import SETTINGS, VerbGroup
from kubeverdict.command.running import run as run_
from kubeverdict.command.version import version_option
from kubeverdict.errors import UsageError
from kubeverdict.model.profile import PROFILES, REFERENCE
from kubeverdict_agent.control.removals import SHARE, STANDING_SECONDS

if TYPE_CHECKING:
    from kubeverdict.live import Access

BPFFS, STATE = Path("/sys/fs/bpf/kubeverdict"), Path("/run/kubeverdict")
METRICS = "127.0.0.1:9964"
CONTRACTS = {"report": 1, "status": 1, "endpoints": 1, "policy": 1, "flows": 1, "check": 1}
"""The versions of what verbs print with ``-o json``, see ``docs/json.md``. Fields may be added
within a version; none is renamed, removed or given another meaning."""

Command = TypeVar("Command", bound=Callable[..., Any])


def main() -> int:
    """Run the command line; its exit status."""
    try:
        return run_(cli, "kubeverdict-agent")
    except OSError as error:
        if error.errno in (errno.EPERM, errno.EACCES):
            click.echo("to see what is missing: kubeverdict-agent check", err=True)
        raise


def _access(kubeconfig: str | None, context: str | None) -> Access:
    from kubeverdict.live import find_access

    return find_access(kubeconfig, context)


def state_option(command: Command) -> Command:
    return click.option(
        "--state",
        type=click.Path(path_type=Path),
        default=STATE,
        show_default=True,
        metavar="DIR",
        help="Where the agent keeps its socket, and modes that were set while it ran.",
    )(command)


def bpffs_option(command: Command) -> Command:
    return click.option(
        "--bpffs",
        type=click.Path(path_type=Path),
        default=BPFFS,
        show_default=True,
        metavar="DIR",
        help="Where maps are pinned: a folder on a BPF file system.",
    )(command)


def format_option(command: Command) -> Command:
    return click.option(
        "-o",
        "--output",
        type=click.Choice(["table", "json"]),
        default="table",
        show_default=True,
        help="Format.",
    )(command)


def idle_option(name: str, seconds: int, what: str) -> Callable[[Command], Command]:
    return click.option(
        name,
        type=click.IntRange(min=1, max=1 << 30),
        default=seconds,
        show_default=True,
        metavar="SECONDS",
        help=f"How long an {what} is remembered.",
    )


@click.group(cls=VerbGroup, context_settings=SETTINGS)
@version_option
def cli() -> None:
    """Audit or enforce a cluster's network policies on this node, in the kernel."""


@cli.command()
@click.option("--node", required=True, metavar="NAME", help="The name of this node.")
@click.option(
    "-f",
    "--filename",
    "files",
    multiple=True,
    metavar="FILE|DIR",
    help="Manifests or kubectl dumps, YAML or JSON; repeatable. They are watched.",
)
@click.option(
    "--live",
    is_flag=True,
    help="Follow the cluster of the service account, or of a kubeconfig, instead of files.",
)
@click.option("--kubeconfig", metavar="FILE", help="With --live: how the API server is reached.")
@click.option(
    "--context", metavar="NAME", help="With --live: a context other than the current one."
)
@click.option(
    "--cni",
    type=CniName(),
    default=REFERENCE.name,
    show_default=True,
    metavar="NAME",
    help=f"Judge as this network plug-in does: {', '.join(PROFILES)}.",
)
@click.option(
    "--skip-invalid", is_flag=True, help="Go on without invalid documents, and name them."
)
@click.option(
    "--mode",
    "settings",
    multiple=True,
    metavar="SUBJECT=MODE",
    help="off, audit or enforce for a namespace, NAMESPACE/WORKLOAD or '*'; repeatable."
    " Everything else is audited.",
)
@click.option(
    "--modes",
    "mode_file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="A file of such settings, SUBJECT=MODE, one a line; watched.",
)
@click.option(
    "--fail",
    type=click.Choice(["open", "closed"]),
    default="open",
    show_default=True,
    help="What happens to packets of a pod that is attached but not known (yet): open passes them,"
    " closed drops them.",
)
@click.option(
    "--adopt",
    type=click.FloatRange(min=0),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="How long after its start a first agent takes over connections of pods that were there"
    " before it, from the kernel's connection tracking. 0: never.",
)
@click.option(
    "--allow-encapsulation",
    is_flag=True,
    help="Let pods send nodes tunnels (VXLAN, Geneve, IP in IP, GRE), whose inside is not judged.",
)
@idle_option("--tcp-idle", 86_400, "idle connection of TCP or SCTP")
@idle_option("--other-idle", 180, "idle, answered connection of another protocol")
@click.option(
    "--connections",
    type=click.IntRange(min=1024, max=1 << 24),
    show_default="131072, or as the agent before",
    metavar="N",
    help="How many connections are tracked, in each address family.",
)
@click.option(
    "--metrics",
    default=METRICS,
    show_default=True,
    metavar="HOST:PORT",
    help="Where Prometheus finds metrics; '' is nowhere.",
)
@click.option(
    "--removals",
    type=click.FloatRange(min=0, max=1),
    default=SHARE,
    show_default=True,
    metavar="SHARE",
    help="Hold back a change that removes more than this share of the policies, of the pods or of"
    " the mode settings, or everything in a file.",
)
@click.option(
    "--confirm-after",
    type=click.FloatRange(min=0),
    default=STANDING_SECONDS,
    show_default=True,
    metavar="SECONDS",
    help="How long such a change has to stand before it comes into force; 'kubeverdict-agent"
    " confirm' does it at once.",
)
@bpffs_option
@state_option
def run(
    node: str,
    files: tuple[str, ...],
    live: bool,
    kubeconfig: str | None,
    context: str | None,
    cni: str,
    skip_invalid: bool,
    settings: tuple[str, ...],
    mode_file: Path | None,
    fail: str,
    adopt: float,
    allow_encapsulation: bool,
    tcp_idle: int,
    other_idle: int,
    connections: int | None,
    metrics: str,
    removals: float,
    confirm_after: float,
    bpffs: Path,
    state: Path,
) -> int:
    """Attach to the pods of this node and keep policy in force until ended.

    Ending the agent changes nothing: what is attached stays in force, and the next agent takes
    over from it. Logs are JSON lines on standard error.
    """
    from kubeverdict_agent import agent
    from kubeverdict_agent.control import modes

    if bool(files) == live:
        raise UsageError("what is the cluster read from? name files with -f, or use --live")
    if (kubeconfig or context) and not live:
        raise UsageError("--kubeconfig and --context are for --live")
    if "-" in files:
        raise UsageError("standard input cannot be watched: name files or folders")
    if mode_file is not None:
        modes.read(mode_file)  # wrong settings are better refused now than noticed later
    agent.run(
        agent.Settings(
            node=node,
            files=files,
            access=_access(kubeconfig, context) if live else None,
            bpffs=bpffs,
            state=state,
            profile=PROFILES[cni],
            skip_invalid=skip_invalid,
            modes=modes.parse(settings),
            mode_file=mode_file,
            closed=fail == "closed",
            adopt_seconds=adopt,
            encapsulation=allow_encapsulation,
            tcp_idle=tcp_idle,
            other_idle=other_idle,
            flows=connections,
            metrics_address=metrics,
            removal_share=removals,
            removal_seconds=confirm_after,
        )
    )
    return CLEAN


@cli.command()
@click.option("-n", "--namespace", metavar="NAME", help="Only denials by its policies.")
@format_option
@state_option
def report(namespace: str | None, output: str, state: Path) -> int:
    """What policy denied, or would deny if it were enforced: "turn this namespace to enforce and
    these connections break".

    Exit status 1 where there is anything.
    """
    from kubeverdict_agent.control.control_socket import ask
    from kubeverdict_agent.observe import report as reports

    answer = ask(state, "report", namespace=namespace or "")
    if output == "json":
        _show_contract("report", answer)
    else:
        _show_lines(reports.text(msgspec.convert(answer, reports.Report)))
    return FINDINGS if answer["namespaces"] else CLEAN


@cli.command()
@click.option("--last", default=20, show_default=True, metavar="N", help="Begin with the newest N.")
@click.option("--follow/--no-follow", default=True, help="Go on until interrupted.")
@state_option
def events(last: int, follow: bool, state: Path) -> int:
    """Denials as they happen, as flows of Hubble: one JSON object a line."""
    from kubeverdict_agent.control.control_socket import follow as follow_

    for answer in follow_(state, "events", last=last, follow=follow):
        if answer:
            _show_json(answer)
    return CLEAN


@cli.command()
@format_option
@state_option
def status(output: str, state: Path) -> int:
    """The state of the agent. Exit status 1 while an alarm stands."""
    from kubeverdict_agent.control.control_socket import ask

    answer = ask(state, "status")
    if output == "json":
        _show_contract("status", answer)
    else:
        _show_lines(_lines_of(answer))
    return FINDINGS if answer["alarms"] else CLEAN


@cli.command()
@format_option
@state_option
def endpoints(output: str, state: Path) -> int:
    """The links of this node, and the pod behind each."""
    from kubeverdict_agent.control.control_socket import ask

    answer = ask(state, "endpoints")
    if output == "json":
        _show_contract("endpoints", {"endpoints": answer})
    else:
        columns = ("link", "state", "pod", "mode", "addresses", "endpoint")
        _show_lines(_table(columns, answer))
    return CLEAN


@cli.command()
@click.argument("pod", default="")
@format_option
@state_option
def policy(pod: str, output: str, state: Path) -> int:
    """What the kernel's tables say, in words: of all pods of this node, or of NAMESPACE/POD."""
    from kubeverdict_agent.control.control_socket import ask

    answer = ask(state, "policy", pod=pod)
    if output == "json":
        _show_contract("policy", answer)
    else:
        for one in answer["pods"]:
            _show_lines(_policy_lines(one))
    return CLEAN


@cli.command()
@click.option("--limit", default=1000, show_default=True, metavar="N", help="Show at most N.")
@format_option
@state_option
def flows(limit: int, output: str, state: Path) -> int:
    """The connections that are tracked."""
    from kubeverdict_agent.control.control_socket import ask

    answer = ask(state, "flows", limit=limit)
    if output == "json":
        _show_contract("flows", answer)
    else:
        columns = ("pod", "origin", "protocol", "local", "local_port", "remote", "remote_port")
        _show_lines(_table((*columns, "packets", "bytes", "state"), answer["flows"]))
        click.echo(f"{len(answer['flows'])} of {answer['total']} connections", err=True)
    return CLEAN


@cli.command()
@click.argument("settings", nargs=-1, metavar="[SUBJECT=MODE]…")
@state_option
def mode(settings: tuple[str, ...], state: Path) -> int:
    """Show the modes, or change some: shop=enforce, shop/web=off, '*=audit', shop=unset.

    In force when the command ends, and kept when the agent is started again.
    """
    from kubeverdict_agent.control import modes
    from kubeverdict_agent.control.control_socket import ask

    for setting in settings:
        modes.parse_setting(setting)
    answer = ask(state, "mode", set=list(settings))
    _show_lines(answer["modes"] or [f"*={modes.DEFAULT.name.lower()}"])
    return CLEAN


@cli.command()
@state_option
def confirm(state: Path) -> int:
    """Let a change come into force that waits because it removes much at once."""
    from kubeverdict_agent.control.control_socket import ask

    confirmed = ask(state, "confirm")["confirmed"]
    _show_lines([f"confirmed: {text}" for text in confirmed] or ["nothing waits"])
    return CLEAN


@cli.command()
@format_option
@bpffs_option
def check(output: str, bpffs: Path) -> int:
    """Whether this machine has what the agent needs. Exit status 1 where something is missing."""
    from kubeverdict_agent.node.checking import check as check_

    found = check_(bpffs)
    if output == "json":
        _show_contract("check", {"requirements": found})
    else:
        _show_lines(f"{'ok' if one.ok else 'MISSING':<8} {one.what}: {one.detail}" for one in found)
    return CLEAN if all(one.ok for one in found) else FINDINGS


@cli.command()
@bpffs_option
@state_option
def detach(bpffs: Path, state: Path) -> int:
    """Remove everything that an agent ever put on this node; traffic is then not filtered."""
    from kubeverdict_agent.node.detaching import detach as detach_

    removed = detach_(bpffs, state)
    click.echo(
        f"programs removed from {len(removed.links)} links,"
        f" maps {'removed' if removed.pins else 'were not there'}"
    )
    return CLEAN


def _show_contract(verb: str, answer: Mapping[str, object]) -> None:
    _show_json({"schema": f"kubeverdict-agent/{verb}/v{CONTRACTS[verb]}", **answer})


def _show_json(answer: object) -> None:
    _show_lines([msgspec.json.encode(answer).decode()])


def _show_lines(lines: Sequence[str] | Iterator[str]) -> None:
    write_out("".join(f"{line}\n" for line in lines))


def _lines_of(answer: dict[str, Any]) -> Iterator[str]:
    for name, value in answer.items():
        if isinstance(value, dict):
            value = ", ".join(f"{count} {word}" for word, count in value.items())
        if name == "alarms":
            value = [f"{one['alarm']}: {one['text']}" for one in value]
        if isinstance(value, float):
            value = f"{value:.3f}"
        if isinstance(value, list):
            yield f"{name.replace('_', ' ')}: {len(value) or 'none'}"
            yield from (f"    {one}" for one in value)
        else:
            yield f"{name.replace('_', ' ')}: {value}"


def _policy_lines(one: dict[str, Any]) -> Iterator[str]:
    yield f"{one['pod']} ({one['mode']})"
    for direction in ("ingress", "egress"):
        yield f"  {direction}:"
        yield from (f"    {line}" for line in one[direction])


def _table(columns: Sequence[str], rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    texts = [list(columns)]
    for row in rows:
        values = (row[column] for column in columns)
        texts.append([" ".join(one) if isinstance(one, list) else str(one) for one in values])
    widths = [max(len(row[column]) for row in texts) for column in range(len(columns))]
    for cells in texts:
        yield "  ".join(
            text.ljust(width) for text, width in zip(cells, widths, strict=True)
        ).rstrip()
