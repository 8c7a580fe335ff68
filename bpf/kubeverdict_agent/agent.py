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

from kubeverdict.errors import UsageError
from kubeverdict.model.profile import Profile
from kubeverdict_agent.control import control_socket
from kubeverdict_agent.control.handlers import Handlers
from kubeverdict_agent.control.housekeeping import WATCH_SECONDS, Housekeeper
from kubeverdict_agent.control.modes import Modes
from kubeverdict_agent.control.reconciler import Applied, Reconciler
from kubeverdict_agent.control.source import FileSource
from kubeverdict_agent.datapath.node_datapath import NodeDatapath
from kubeverdict_agent.node import privileges
from kubeverdict_agent.node.node import LocalNode
from kubeverdict_agent.observe import metrics
from kubeverdict_agent.observe.alarms import Alarms, EventLog
from kubeverdict_agent.observe.collecting import Collector
from kubeverdict_agent.observe.naming import Naming

LOCK = "lock"
LIVE_MODES = "modes"
_FOLLOW_SECONDS = 1.0


@dataclass(frozen=True)
class Settings:
    """The configuration of an agent. ``closed``: packets of pods that are attached but not known
    (yet) are dropped, not passed. ``adopt_seconds``: for how long mid-connection packets are
    accepted as those of connections that are older than the filtering of their pod: by a first
    agent, and for a pod that was not known or was off."""

    node: str
    files: tuple[str, ...]
    bpffs: Path
    state: Path
    profile: Profile
    skip_invalid: bool = False
    modes: Modes = field(default_factory=Modes)
    mode_file: Path | None = None
    closed: bool = False
    adopt_seconds: float = 60.0
    flows: int = 131_072
    metrics_address: str = ""


@contextlib.contextmanager
def locked(state: Path) -> Iterator[None]:
    """Hold the state folder, which is made where it is missing: one agent at a time.

    Raises UsageError where another one holds it, or where it cannot be made.
    """
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


def run(settings: Settings) -> None:
    """Run an agent until SIGTERM or SIGINT. Raises KubeverdictError where it cannot start."""
    log = EventLog(settings.node)
    with locked(settings.state), contextlib.ExitStack() as stack:
        wakeup = stack.enter_context(_signals())
        datapath = NodeDatapath.open(settings.bpffs, flows=settings.flows)
        stack.callback(datapath.close)
        log("info", "started", generation=datapath.generation, pid=os.getpid())
        datapath.set_unknown(settings.closed)
        if not datapath.generation:
            datapath.adopt_for(settings.adopt_seconds)
        alarms, naming = Alarms(log), Naming()
        node = LocalNode(settings.node, datapath, naming, alarms, log, settings.adopt_seconds)
        stack.callback(node.close)
        collector = Collector(datapath, naming, node.pod_of)
        privileges.drop()
        # Before anything else: a pod that is there now should not wait for a large input.
        node.list_all()

        exporter: metrics.MetricsServer | None = None

        def applied(state: Applied) -> None:
            if exporter is not None and state.since_change:
                exporter.applied(state.since_change)

        reconciler = Reconciler(
            settings.node,
            FileSource(settings.files, settings.skip_invalid),
            settings.profile,
            node,
            alarms,
            log,
            settings.modes,
            settings.mode_file,
            settings.state / LIVE_MODES,
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
            exporter = metrics.MetricsServer(settings.metrics_address, handlers.sample)
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
        due = time.monotonic() + WATCH_SECONDS
        while True:
            # A publication may make another one necessary, and only the node knows.
            ready = selector.select(_FOLLOW_SECONDS)
            if any(key.fileobj is wakeup for key, _ in ready):
                return
            try:
                if time.monotonic() >= due:
                    due = time.monotonic() + WATCH_SECONDS
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
