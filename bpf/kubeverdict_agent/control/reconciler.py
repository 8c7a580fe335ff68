"""From a changed source to tables in force, in a thread of its own.

Whatever fails (input that is wrong, policies that do not fit), the tables in force stay
as they are and an alarm says what is wrong, until a change fixes it. A change that removes much at
once waits (:mod:`removals`).
"""

from __future__ import annotations

import ctypes
import gc
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from kubeverdict.compile.compiled import CompiledPolicy
from kubeverdict.errors import KubeverdictError
from kubeverdict.model.cluster import Cluster
from kubeverdict.model.edit import Edit
from kubeverdict.model.profile import Profile
from kubeverdict_agent.control import modes as mode_settings
from kubeverdict_agent.control import source
from kubeverdict_agent.control.modes import EnforcedPods, Modes
from kubeverdict_agent.control.removals import MODE, Contents, Removals
from kubeverdict_agent.control.waking import Wakeup
from kubeverdict_agent.control.watching import PathWatch
from kubeverdict_agent.control.writing import BeingWritten, has_writer, stamp
from kubeverdict_agent.errors import DoesNotFit
from kubeverdict_agent.lowering.tables import Local, Lowering, Tables
from kubeverdict_agent.observe.alarms import Alarms, EventLog
from kubeverdict_agent.observe.owners import PodOwners

if TYPE_CHECKING:
    from pathlib import Path

    from kubeverdict.compile.incremental.keeping import Keeper


# With more changes at once than this, of which one of a pod counts as a part, compiling anew is as
# fast.
_MOST_CHANGES, _OF_A_POD = 50, 0.1
_WRITING_SECONDS = 1.0  # that a file may be written before it is an alarm


class Publisher(Protocol):
    """What publishes: it holds the links and the kernel's maps."""

    def see_cluster(self, owners: PodOwners, written: float) -> None:
        """Pods that are new or changed, written then; nothing of them is in force yet."""

    def join(self, cluster: Cluster) -> None:
        """Let peers see pods that are new and like others, before ``cluster`` is compiled."""

    def locals(self, compiled: CompiledPolicy, modes: Modes) -> tuple[Local, ...]:
        """The pods that tables must hold."""

    @property
    def own_addresses(self) -> tuple[str, ...]:
        """The addresses of the node itself."""

    def publish(self, compiled: CompiledPolicy, locals_: tuple[Local, ...], tables: Tables) -> int:
        """Put tables in force and bind the links that wait for them; the new generation."""

    def settle(self) -> None:
        """Wait for the packets that are judged by the tables before, as the next publication has
        to."""


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
    """Compiles, lowers and publishes. :meth:`wake` says that pods or modes changed. ``removals``
    are those of the source and of the file of modes."""

    def __init__(
        self,
        node_name: str,
        cluster: source.ClusterSource,
        profile: Profile,
        node: Publisher,
        alarms: Alarms,
        log: EventLog,
        flags: Modes,
        mode_file: Path | None,
        live_file: Path,
        removals: tuple[Removals, Removals],
        applied: Callable[[Applied], None],
    ) -> None:
        self._node_name = node_name
        self._lowering = Lowering(node_name)
        self._source = cluster
        self._profile = profile
        self._node = node
        self._alarms = alarms
        self._log = log
        self._flags = flags
        self._mode_file = mode_file
        self._live_file = live_file
        self._removals, self._mode_removals = removals
        self._applied = applied
        self._held: source.Reading | None = None  # until its removals may happen
        self._whole = True  # pods that were read are not known to the node yet
        self._unwritten_since = 0.0
        self._compiled: CompiledPolicy | None = None
        self._contents: Contents | None = None  # of what is compiled and not in force yet
        self._keeper: Keeper | None = None  # of what is compiled
        self._edits: list[Edit] = []  # that are not compiled yet
        self._owners = PodOwners(node_name)
        self._pods_written = -1.0
        self._readings = 0
        self._compilations = 0  # of everything
        self._modes = Modes()
        self._file_modes: Modes | None = None  # those in force
        self._modes_known = False
        self._modes_unwritten = False  # somebody is writing the file
        self._enforced = EnforcedPods()
        self._mode_stamps: object = None
        self._mode_watch = PathWatch([str(mode_file)] if mode_file is not None else [])
        self._mode_watch.cover()
        self._wake = Wakeup()
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

    @property
    def source_age(self) -> float:
        """Seconds for which the source may have been out of date."""
        return self._source.age

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> int:
        """Look at everything anew. :attr:`done` reaches the number when that has happened."""
        with self._lock:
            self._asked += 1
            number = self._asked
        self._wake.set()
        return number

    def confirm(self) -> list[str]:
        """Let the removals that wait come into force; they, in words."""
        return [text for each in (self._removals, self._mode_removals) if (text := each.confirm())]

    def stop(self) -> None:
        self._stop.set()
        self._wake.set()
        self._thread.join()
        self._mode_watch.close()

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
            self._wait()

    def _wait(self) -> None:
        """Until there may be something to do."""
        waits = self._held is not None or self._mode_removals.waiting
        if waits or self._unwritten_since or self._modes_unwritten or not self._mode_watch.complete:
            seconds = source.POLL_SECONDS
        else:
            seconds = self._source.quiet_seconds
        self._wake.wait(seconds, (*self._source.descriptors, *self._mode_watch.descriptors))

    def _turn(self) -> None:
        begun = time.monotonic()
        asked = self._asked
        reasons: list[str] = []
        if self._wake.take():
            reasons.append("pods or modes")
        written = 0.0
        reading = self._read()
        if reading is not None and self._compile(reading):
            written = reading.changed_at
            reasons.append("source")
        if self._read_modes():
            self._modes_known = True
            reasons.append("modes")
        if reasons and self._compiled is not None and self._modes_known:
            self._publish(", ".join(reasons), begun, written)
        if waiting := [one.waiting for one in (self._removals, self._mode_removals) if one.waiting]:
            self._alarms.raise_("removals", "; ".join(waiting))
        else:
            self._alarms.clear("removals")
        if stale := self._source.stale:
            self._alarms.raise_("stale", stale)
        else:
            self._alarms.clear("stale")
        self.done = asked

    def _read(self) -> source.Reading | None:
        """What is to be put in force now, if anything: a change, or one that had to wait."""
        reading = self._held
        if self._source.changed():
            try:
                reading = self._source.read(self._stop.wait)
            except BeingWritten as error:
                now = time.monotonic()
                self._unwritten_since = self._unwritten_since or now
                if now - self._unwritten_since >= _WRITING_SECONDS:
                    self._alarms.raise_("source", str(error))
                return None
            except KubeverdictError as error:
                self._unwritten_since = 0.0
                self._held = None
                self._removals.drop()
                self._fail("source", str(error))
                return None
            else:
                self._unwritten_since = 0.0
                self._alarms.clear("source")
                self._see(reading)
        if reading is None:
            return None
        self._held = reading if self._removals.must_wait(reading.contents) else None
        return reading if self._held is None else None

    def _see(self, reading: source.Reading) -> None:
        """Take note of what changed: it may have to wait, for other changes too."""
        if reading.edit is None:
            self._whole = True
        elif not self._whole:
            self._edits.append(reading.edit)
        if self._whole or sum(map(_weight, self._edits)) > _MOST_CHANGES:
            self._whole = True
            self._edits.clear()

    def _compile(self, reading: source.Reading) -> bool:
        whole = self._whole or self._keeper is None
        try:
            compiled = self._compile_anew(reading) if whole else self._keep_edits()
        except KubeverdictError as error:
            self._whole = True  # what was kept may be half of it
            self._fail("source", str(error))
            return False
        self._alarms.clear("source")
        self._edits.clear()
        if whole:
            gc.unfreeze()
        before, self._compiled, self._contents = self._compiled, compiled, reading.contents
        self._readings += 1
        self._whole = False
        pods_written, self._pods_written = self._pods_written, reading.pods_written
        if whole or before is None or before.pods is not compiled.pods:
            self._owners.follow(compiled.pods)
            pods_written = -1.0
        if pods_written != reading.pods_written:
            self._node.see_cluster(self._owners, reading.pods_written)
        if whole:
            # What was read stays: from now on collections need not look through it.
            gc.collect()
            gc.freeze()
        self.state = replace(self.state, remarks=(*reading.remarks, *compiled.notes))
        return True

    def _keep_edits(self) -> CompiledPolicy:
        assert self._keeper is not None
        for edit in self._edits:
            self._compilations += bool(self._keeper.keep(edit).anew)
        return self._keeper.now.compiled

    def _compile_anew(self, reading: source.Reading) -> CompiledPolicy:
        from kubeverdict.compile.compiler import compilation
        from kubeverdict.compile.incremental.keeping import Keeper, Kept

        self._compilations += 1
        self._node.join(reading.cluster)
        self._keeper = None  # as large as what takes its place
        made = compilation(reading.cluster, self._profile)
        self._keeper = Keeper(Kept(0, made.compiled), made)
        return made.compiled

    def _read_modes(self) -> bool:
        files = [path for path in (self._mode_file, self._live_file) if path is not None]
        if self._mode_watch.noticed().everything:
            self._mode_watch.cover()
        self._modes_unwritten = False
        stamps = [stamp(path) for path in files]
        if stamps == self._mode_stamps and not self._mode_removals.waiting:
            return False
        try:
            if self._mode_file is not None and has_writer(self._mode_file):
                self._modes_unwritten = True
                return False
            from_file = mode_settings.read(self._mode_file) if self._mode_file else Modes()
            live = mode_settings.read(self._live_file)
        except KubeverdictError as error:
            if stamps != self._mode_stamps:
                self._mode_stamps = stamps
                self._fail("modes", str(error))
            return False
        self._mode_stamps = stamps
        self._alarms.clear("modes")
        contents: Contents = {
            str(self._mode_file): frozenset((MODE, "", subject) for subject in from_file.settings)
        }
        if not self._mode_removals.must_wait(contents):
            self._mode_removals.accept(contents)
            self._file_modes = from_file
        if self._file_modes is None:
            return False
        before, self._modes = self._modes, live.over(self._flags.over(self._file_modes))
        return not self._modes_known or self._modes != before

    def _publish(self, reason: str, begun: float, written: float) -> None:
        compiled = self._compiled
        assert compiled is not None
        locals_ = self._node.locals(compiled, self._modes)
        own = self._node.own_addresses
        wanted = (compiled, locals_, own, self._modes)
        if wanted == self._published:
            self._alarms.clear("tables")
            return
        enforced = self._enforced.of(compiled.pods, self._modes)
        try:
            tables = self._lowering.lower(compiled, locals_, own, enforced)
            generation = self._node.publish(compiled, locals_, tables)
        except DoesNotFit as error:
            self._fail("tables", str(error))
            return
        self._published = wanted
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
            compilations=self._compilations,
        )
        self._applied(self.state)
        self._node.settle()  # so that the next publication need not
        if self._contents is not None:
            self._removals.accept(self._contents)
            self._contents = None
        if self._keeper is not None:
            self._keeper.open()  # so that the next change need not
        if written:
            _give_back_memory()

    def _fail(self, alarm: str, text: str) -> None:
        self._failed()
        self._alarms.raise_(alarm, text)

    def _failed(self) -> None:
        self.state = replace(self.state, failures=self.state.failures + 1)


def _weight(edit: Edit) -> float:
    policies = len(edit.policies_out) + len(edit.policies_in)
    pods = len(edit.pods_out) + len(edit.pods_in)
    return policies + _OF_A_POD * pods + len(edit.namespaces_in) + len(edit.namespaces_out)


def _give_back_memory() -> None:
    """Return to the system what reading and compiling took and no longer needs."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of the GNU C library
    if trim is not None:
        trim(0)
