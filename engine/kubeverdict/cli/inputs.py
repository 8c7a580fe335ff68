"""Reading and compiling the input of a verb, with remarks about it on standard error."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from kubeverdict.cli.options import LIVE, live_option
from kubeverdict.cli.output import StatusLine, say
from kubeverdict.errors import UsageError
from kubeverdict.model.defaults import DEFAULT_NAMESPACE
from kubeverdict.model.profile import PROFILES

if TYPE_CHECKING:
    from kubeverdict.compile.compiled import CompiledPolicy
    from kubeverdict.live import Access
    from kubeverdict.manifests import Loaded
    from kubeverdict.model.cluster import Cluster
    from kubeverdict.session.session import Session
    from kubeverdict.snapshots import Snapshot


def load_input(files: Sequence[str], namespace: str, skip_invalid: bool) -> Loaded:
    """The cluster in manifests, or of a context; remarks about it go to standard error."""
    from kubeverdict.manifests import load

    if any(map(is_live, files)):
        return _load_live(files, skip_invalid)
    loaded = load(files, stdin=sys.stdin.buffer, skip_invalid=skip_invalid, namespace=namespace)
    _say_remarks(loaded)
    if namespace != DEFAULT_NAMESPACE and not loaded.unplaced:
        text = (
            "every object has a namespace; --in-namespace narrows the answer of verbs that have it"
        )
        say("note", f"-n {namespace} has no effect: {text}")
    return loaded


def is_live(path: str) -> bool:
    """Whether an input is a cluster that is asked, and no file."""
    return path.startswith(LIVE)


def access_of(files: Sequence[str]) -> Access:
    """How the cluster that ``files`` name is reached."""
    from kubeverdict import live

    if len(files) > 1:
        raise UsageError(f"{files[0]} is a whole cluster: no other input can be used with it")
    user, groups = live_option("as_user"), live_option("as_groups") or ()
    if groups and not user:
        raise UsageError("--as-group is for --as")
    return live.find_access(
        live_option("kubeconfig"),
        files[0].removeprefix(LIVE) or None,
        live.Impersonation(user, groups) if user else None,
    )


def _load_live(files: Sequence[str], skip_invalid: bool) -> Loaded:
    from kubeverdict import live

    access = access_of(files)
    with StatusLine(sys.stderr) as line:
        found = live.load(
            access,
            skip_invalid=skip_invalid,
            progress=lambda kind, count: line.put(f"reading {kind}: {count:,}"),
        )
    say("note", str(found))
    _say_remarks(found.loaded)
    return found.loaded


def _say_remarks(loaded: Loaded) -> None:
    for kind, text in remarks(loaded):
        say(kind, text)


def remarks(loaded: Loaded) -> list[tuple[str, str]]:
    """Remarks about an input: the kind of each, and a sentence."""
    from kubeverdict.manifests.sources import passed_over

    found = [("skipped", str(problem)) for problem in loaded.skipped]
    found += [("warning", str(problem)) for problem in loaded.warnings]
    if loaded.passed_over:
        text = passed_over(loaded.passed_over)
        found.append(("note", f"passed over: {text}; -f PATH reads what it names"))
    if loaded.ignored:
        kinds = ", ".join(f"{count} {kind}" for kind, count in loaded.ignored.items())
        found.append(("note", f"objects that no verdict depends on: {kinds}"))
    return found


def snapshot_in(files: Sequence[str]) -> Snapshot | None:
    """The snapshot that ``files`` name, if they name one; its remarks go to standard error."""
    from kubeverdict import snapshots

    paths = [path for path in files if not is_live(path)]
    named = [path for path in paths if path.endswith(".kvs") or snapshots.is_snapshot(path)]
    if not named:
        return None
    if len(files) > 1:
        raise UsageError(f"{named[0]} is a snapshot: no other input can be used with it")
    snapshot = snapshots.read(named[0])
    for kind, text in snapshot.remarks:
        say(kind, text)
    return snapshot


def cluster_in(files: Sequence[str], namespace: str, skip_invalid: bool) -> Cluster:
    """The cluster in manifests or in a snapshot."""
    return cluster_of(snapshot_in(files), files, namespace, skip_invalid)


def cluster_of(
    snapshot: Snapshot | None, files: Sequence[str], namespace: str, skip_invalid: bool
) -> Cluster:
    """The cluster of a snapshot that :func:`snapshot_in` found, or else that in manifests."""
    if snapshot is not None:
        return snapshot.compiled.cluster
    return load_input(files, namespace, skip_invalid).cluster


def session_in(
    files: Sequence[str],
    namespace: str,
    skip_invalid: bool,
    cni: str,
    static: bool,
    check: Callable[[Cluster], None] | None = None,
) -> Session:
    """The cluster in manifests, compiled, to make changes of; or as a snapshot has it, if that
    fits. ``check`` is called with the cluster before it is compiled."""
    snapshot = snapshot_in(files)
    cluster = cluster_of(snapshot, files, namespace, skip_invalid)
    if check is not None:
        check(cluster)
    return session_of(snapshot, cluster, cni, static)


def session_of(snapshot: Snapshot | None, cluster: Cluster, cni: str, static: bool) -> Session:
    """``cluster`` compiled, to make changes of; or as a snapshot has it, if that fits."""
    from kubeverdict.session.session import Session

    compiled = _fitting(snapshot, cluster, cni, static)
    if snapshot is not None and compiled is not None:
        return Session.resumed(compiled, snapshot.workbench)
    say_wait(cluster)
    session = Session.of(cluster, PROFILES[cni], static=static)
    say_notes(session.now.compiled)
    return session


def compiled_in(
    files: Sequence[str], namespace: str, skip_invalid: bool, cni: str, static: bool
) -> CompiledPolicy:
    """As :func:`session_in`, for a question about the cluster as it is: nothing that follows
    changes is loaded."""
    snapshot = snapshot_in(files)
    cluster = cluster_of(snapshot, files, namespace, skip_invalid)
    return compiled_of(snapshot, cluster, cni, static)


def compiled_of(
    snapshot: Snapshot | None, cluster: Cluster, cni: str, static: bool
) -> CompiledPolicy:
    """``cluster`` compiled; or as a snapshot has it, if that fits."""
    found = _fitting(snapshot, cluster, cni, static)
    return compiled_from(cluster, cni, static) if found is None else found


def _fitting(
    snapshot: Snapshot | None, cluster: Cluster, cni: str, static: bool
) -> CompiledPolicy | None:
    """What a snapshot holds, if that is ``cluster`` and was compiled for this CNI."""
    if snapshot is None:
        return None
    compiled = snapshot.compiled
    if (compiled.profile, compiled.static) != (PROFILES[cni], static):
        return None
    if compiled.cluster is not cluster:
        return None
    say_notes(compiled)
    return compiled


def compiled_from(cluster: Cluster, cni: str, static: bool) -> CompiledPolicy:
    from kubeverdict.compile.compiler import compile_cluster

    say_wait(cluster)
    compiled = compile_cluster(cluster, PROFILES[cni], static=static)
    say_notes(compiled)
    return compiled


def say_wait(cluster: Cluster) -> None:
    from kubeverdict.compile.compiler import kernels_missing

    if kernels_missing(cluster):
        say("note", "the first large input compiles the kernels, which takes a minute")


def say_notes(compiled: CompiledPolicy) -> None:
    from kubeverdict.analyses.notes import notes

    for note in notes(compiled):
        say("note", note)


def check_pods(*inputs: CompiledPolicy) -> None:
    """Raise UsageError where none of ``inputs`` has a pod: an answer about nothing would look
    like a clean one."""
    from kubeverdict.analyses.notes import why_no_pods

    if not any(len(compiled.pods) for compiled in inputs):
        raise UsageError(why_no_pods(inputs))
