"""The agent: connects the parts and runs them until it is asked to end.

Ending it changes nothing for packets: programs stay on the links and tables in the kernel, and
the next agent takes them over. Only ``detach`` removes them.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import selectors
import signal
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from kubeverdict.errors import UsageError
from kubeverdict.model.profile import Profile
from kubeverdict_agent.control import control_socket, removals
from kubeverdict_agent.control.handlers import Handlers
from kubeverdict_agent.control.housekeeping import Housekeeper
from kubeverdict_agent.control.modes import Modes
from kubeverdict_agent.control.reconciler import Applied, Reconciler
from kubeverdict_agent.control.source import ClusterSource, FileSource
from kubeverdict_agent.datapath.maps import make_folder
from kubeverdict_agent.datapath.node_datapath import OTHER_IDLE, TCP_IDLE, NodeDatapath
from kubeverdict_agent.lowering.tables import as_enforced
from kubeverdict_agent.node import privileges
from kubeverdict_agent.node.node import LocalNode
from kubeverdict_agent.observe import metrics
from kubeverdict_agent.observe.alarms import Alarms, EventLog
from kubeverdict_agent.observe.collecting import Collector
from kubeverdict_agent.observe.naming import Naming

if TYPE_CHECKING:
    from kubeverdict.live import Access

LOCK = "lock"
LIVE_MODES = "modes"
ENDPOINTS = "endpoints"
IN_FORCE, MODES_IN_FORCE = "in-force", "modes-in-force"
_FOLLOW_SECONDS = 1.0
_LIST_SECONDS = 5.0  # between two looks at everything that is on links


@dataclass(frozen=True)
class Settings:
    """The configuration of an agent. ``closed``: packets of pods that are attached but not known
    (yet) are dropped, not passed. ``adopt_seconds``: for how long after its start a first agent
    takes over connections of pods that were there before it. ``encapsulation``: pods may send nodes
    tunnels. ``tcp_idle`` and ``other_idle`` are seconds for which idle connections are
    remembered. ``removal_share``, ``removal_seconds``: see :class:`Removals`."""

    node: str
    files: tuple[str, ...]  # unless there is access to an API server
    bpffs: Path
    state: Path
    profile: Profile
    skip_invalid: bool = False
    modes: Modes = field(default_factory=Modes)
    mode_file: Path | None = None
    closed: bool = False
    adopt_seconds: float = 60.0
    encapsulation: bool = False
    tcp_idle: float = TCP_IDLE
    other_idle: float = OTHER_IDLE
    flows: int | None = None
    metrics_address: str = ""
    access: Access | None = None
    removal_share: float = removals.SHARE
    removal_seconds: float = removals.STANDING_SECONDS


@contextlib.contextmanager
def locked(state: Path, bpffs: Path) -> Iterator[None]:
    """Hold the state folder, which is made where it is missing, and the folder of the maps: one
    agent at a time on either.

    Raises UsageError where another one holds one of them, or where the first cannot be made.
    """
    with _locked_state(state):
        try:
            folder = os.open(bpffs, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:  # to detach from
            yield
            return
        except OSError as error:
            raise UsageError(f"{bpffs}: {error.strerror}") from None
        try:
            try:
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise UsageError(f"an agent with another --state is using {bpffs}") from None
            yield
        finally:
            os.close(folder)


@contextlib.contextmanager
def _locked_state(state: Path) -> Iterator[None]:
    try:
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(state / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise UsageError(f"{state}: {error.strerror}") from None
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            owner = os.pread(lock, 32, 0).decode(errors="replace").strip()
            raise UsageError(f"an agent (process {owner}) is using {state}") from None
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(lock)


def _source(settings: Settings) -> ClusterSource:
    if settings.access is None:
        return FileSource(settings.files, settings.skip_invalid)
    from kubeverdict_agent.control.live_source import LiveSource

    return LiveSource(settings.access, settings.skip_invalid)


def run(settings: Settings) -> None:
    """Run an agent until SIGTERM or SIGINT. Raises KubeverdictError where it cannot start."""
    log = EventLog(settings.node)
    make_folder(settings.bpffs)
    with locked(settings.state, settings.bpffs), contextlib.ExitStack() as stack:
        wakeup = stack.enter_context(_signals())
        datapath = NodeDatapath.open(settings.bpffs, flows=settings.flows)
        stack.callback(datapath.close)
        log("info", "started", generation=datapath.generation, pid=os.getpid())
        datapath.set_unknown(settings.closed)
        datapath.set_encapsulation(settings.encapsulation)
        datapath.set_idle(settings.tcp_idle, settings.other_idle)
        alarms, naming = Alarms(log), Naming()
        node = LocalNode(
            settings.node,
            datapath,
            naming,
            alarms,
            log,
            settings.adopt_seconds,
            settings.state / ENDPOINTS,
        )
        stack.callback(node.close)
        collector = Collector(datapath, naming, node.pod_of)
        privileges.drop()
        # Before anything else: a pod that is there now should not wait for a large input.
        node.list_all()

        exporter: metrics.MetricsServer | None = None

        def applied(state: Applied) -> None:
            if exporter is not None and state.since_change:
                exporter.applied(state.since_change)

        share, seconds = settings.removal_share, settings.removal_seconds
        guards = (
            removals.Removals(share, seconds, settings.state / IN_FORCE),
            removals.Removals(share, seconds, settings.state / MODES_IN_FORCE),
        )
        if datapath.generation:
            for guard in guards:
                guard.recall()
        source = _source(settings)
        stack.callback(source.close)
        reconciler = Reconciler(
            settings.node,
            source,
            as_enforced(settings.profile),
            node,
            alarms,
            log,
            settings.modes,
            settings.mode_file,
            settings.state / LIVE_MODES,
            guards,
            applied,
        )
        handlers = Handlers(
            settings.node,
            datapath,
            node,
            reconciler,
            collector,
            alarms,
            settings.state / LIVE_MODES,
        )
        if settings.metrics_address:
            exporter = metrics.MetricsServer(
                settings.metrics_address, handlers.sample, handlers.unready
            )
            stack.callback(exporter.close)
        server = control_socket.ControlSocket(
            settings.state / control_socket.SOCKET, handlers.handlers()
        )
        stack.callback(server.close)
        reconciler.start()
        stack.callback(reconciler.stop)
        stack.callback(Housekeeper(datapath, collector, node, reconciler, alarms).close)
        _follow_links(wakeup, node, reconciler, alarms)
        log("info", "ended; what is attached stays in force")


def _follow_links(
    wakeup: socket.socket, node: LocalNode, reconciler: Reconciler, alarms: Alarms
) -> None:
    with selectors.DefaultSelector() as selector:
        selector.register(wakeup, selectors.EVENT_READ)
        selector.register(node.monitor, selectors.EVENT_READ)
        due = time.monotonic() + _LIST_SECONDS
        while True:
            # A publication may make another one necessary, and only the node knows.
            ready = selector.select(_FOLLOW_SECONDS)
            if any(key.fileobj is wakeup for key, _ in ready):
                return
            try:
                if time.monotonic() >= due:
                    due = time.monotonic() + _LIST_SECONDS
                    node.list_all()
                    alarms.clear("links")
                if node.follow():
                    reconciler.wake()
            except Exception as error:
                # A bug must not end the loop that keeps links covered, nor go unnoticed.
                alarms.unexpected("links", error)
                time.sleep(1.0)
                due = 0.0  # changes reported meanwhile may have been missed


@contextlib.contextmanager
def _signals() -> Iterator[socket.socket]:
    """A socket that is readable once SIGTERM or SIGINT came."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.setblocking(False)
        before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        for number in before:
            signal.signal(number, lambda *_: None)
        wakeup = signal.set_wakeup_fd(theirs.fileno())
        try:
            yield ours
        finally:
            signal.set_wakeup_fd(wakeup)
            for number, handler in before.items():
                signal.signal(number, handler)
