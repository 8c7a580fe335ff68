"""From a changed source to tables in force, in a thread of its own.

Whatever fails (input that is wrong, policies that do not fit), the tables in force stay
as they are and an alarm says what is wrong, until a change fixes it.
"""

from __future__ import annotations

import ctypes
import gc
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from kubeverdict.compile.compiled import CompiledPolicy
from kubeverdict.errors import KubeverdictError
from kubeverdict.model.cluster import Cluster
from kubeverdict.model.profile import Profile
from kubeverdict_agent.control import modes as mode_settings
from kubeverdict_agent.control import source
from kubeverdict_agent.control.modes import Modes
from kubeverdict_agent.errors import DoesNotFit
from kubeverdict_agent.lowering.tables import Local, Tables, lower
from kubeverdict_agent.node.endpoints import PodKey
from kubeverdict_agent.observe.alarms import Alarms, EventLog
from kubeverdict_agent.observe.naming import owners

if TYPE_CHECKING:
    from pathlib import Path

    from kubeverdict.compile.population import Population


class Publisher(Protocol):
    """What publishes: it holds the links and the kernel's maps."""

    def see_cluster(
        self, compiled: CompiledPolicy, anywhere: Mapping[str, int], here: Mapping[str, PodKey]
    ) -> None:
        """A new cluster; nothing of it is in force yet."""

    def join(self, cluster: Cluster) -> None:
        """Let peers see pods that are new and like others, before ``cluster`` is compiled."""

    def locals(self, compiled: CompiledPolicy, modes: Modes) -> tuple[Local, ...]:
        """The pods that tables must hold."""

    @property
    def own_addresses(self) -> tuple[str, ...]:
        """The addresses of the node itself."""

    def publish(self, compiled: CompiledPolicy, locals_: tuple[Local, ...], tables: Tables) -> int:
        """Put tables in force and bind the links that wait for them; the new generation."""


@dataclass(frozen=True)
class Applied:
    """The last publication. Times are seconds since the epoch, durations seconds."""

    generation: int = 0
    at: float = 0.0
    reason: str = ""
    seconds: float = 0.0  # from noticing to being in force
    since_change: float = 0.0  # from the file being written; 0 where no file was
    publications: int = 0
    readings: int = 0  # of the source, that are in force
    failures: int = 0
    remarks: tuple[str, ...] = ()


class Reconciler:
    """Compiles, lowers and publishes. :meth:`wake` says that pods or modes changed."""

    def __init__(
        self,
        node_name: str,
        cluster: source.FileSource,
        profile: Profile,
        node: Publisher,
        alarms: Alarms,
        log: EventLog,
        flags: Modes,
        mode_file: Path | None,
        live_file: Path,
        applied: Callable[[Applied], None],
    ) -> None:
        self._node_name = node_name
        self._source = cluster
        self._profile = profile
        self._node = node
        self._alarms = alarms
        self._log = log
        self._flags = flags
        self._mode_file = mode_file
        self._live_file = live_file
        self._applied = applied
        self._compiled: CompiledPolicy | None = None
        self._population: Population | None = None
        self._readings = 0
        self._modes = Modes()
        self._mode_stamps: object = None
        self._wake = threading.Event()
        self._lock = threading.Lock()
        self._asked = 0
        self.done = 0
        self._published: tuple[object, ...] = ()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reconciler", daemon=True)
        self.state = Applied()

    @property
    def modes(self) -> Modes:
        return self._modes

    @property
    def compiled(self) -> CompiledPolicy | None:
        return self._compiled

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> int:
        """Look at everything anew. :attr:`done` reaches the number when that has happened."""
        with self._lock:
            self._asked += 1
            number = self._asked
        self._wake.set()
        return number

    def stop(self) -> None:
        self._stop.set()
        self._wake.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._turn()
            except Exception as error:
                # A bug must not end the loop that keeps policy in force, nor go unnoticed.
                self._failed()
                self._alarms.unexpected("internal", error)
                self._source.forget()
                self._stop.wait(1.0)
            self._wake.wait(source.POLL_SECONDS)

    def _turn(self) -> None:
        begun = time.monotonic()
        asked = self._asked
        reasons: list[str] = []
        if self._wake.is_set():
            self._wake.clear()
            reasons.append("pods or modes")
        written = 0.0
        if self._source.changed():
            changed_at = self._read()
            if changed_at is not None:
                written = changed_at
                reasons.append("source")
        if self._read_modes():
            reasons.append("modes")
        if reasons and self._compiled is not None:
            self._publish(", ".join(reasons), begun, written)
        self.done = asked

    def _read(self) -> float | None:
        """Read and compile; when the source was written, or None where it is wrong."""
        from kubeverdict.compile.compiler import compile_populated
        from kubeverdict.compile.population import populate

        try:
            reading = self._source.read(self._stop.wait)
            if not reading.policies_only:
                self._node.join(reading.cluster)
                self._population = None
            if self._population is None:  # also where that failed before
                self._population = populate(reading.cluster, self._profile, False)
            compiled = compile_populated(reading.cluster, self._population, self._profile)
        except KubeverdictError as error:
            self._fail("source", str(error))
            return None
        self._alarms.clear("source")
        if not reading.policies_only:
            gc.unfreeze()
        self._compiled = compiled
        self._readings += 1
        if not reading.policies_only:
            self._node.see_cluster(compiled, *owners(compiled, self._node_name))
            # What was read stays: from now on collections need not look through it.
            gc.collect()
            gc.freeze()
        self.state = replace(self.state, remarks=(*reading.remarks, *compiled.notes))
        return reading.changed_at

    def _read_modes(self) -> bool:
        files = [path for path in (self._mode_file, self._live_file) if path is not None]
        stamps = [source.stamp(path) for path in files]
        if stamps == self._mode_stamps:
            return False
        self._mode_stamps = stamps
        try:
            from_file = mode_settings.read(self._mode_file) if self._mode_file else Modes()
            live = mode_settings.read(self._live_file)
        except KubeverdictError as error:
            self._fail("modes", str(error))
            return False
        self._alarms.clear("modes")
        self._modes = live.over(self._flags.over(from_file))
        return True

    def _publish(self, reason: str, begun: float, written: float) -> None:
        compiled = self._compiled
        assert compiled is not None
        locals_ = self._node.locals(compiled, self._modes)
        own = self._node.own_addresses
        if (compiled, locals_, own) == self._published:
            self._alarms.clear("tables")
            return
        try:
            tables = lower(compiled, self._node_name, locals_, own)
            generation = self._node.publish(compiled, locals_, tables)
        except DoesNotFit as error:
            self._fail("tables", str(error))
            return
        self._published = (compiled, locals_, own)
        self._alarms.clear("tables")
        self._alarms.clear("internal")
        now = time.time()
        self.state = replace(
            self.state,
            generation=generation,
            at=now,
            reason=reason,
            seconds=time.monotonic() - begun,
            since_change=max(now - written, 0.0) if written else 0.0,
            publications=self.state.publications + 1,
            readings=self._readings,
        )
        self._log(
            "info",
            "policy in force",
            generation=generation,
            reason=reason,
            seconds=round(self.state.seconds, 4),
            pods=len(locals_),
            policies=len(compiled.policies),
        )
        self._applied(self.state)
        if written:
            _give_back_memory()

    def _fail(self, alarm: str, text: str) -> None:
        self._failed()
        self._alarms.raise_(alarm, text)

    def _failed(self) -> None:
        self.state = replace(self.state, failures=self.state.failures + 1)


def _give_back_memory() -> None:
    """Return to the system what reading and compiling took and no longer needs."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of the GNU C library
    if trim is not None:
        trim(0)
