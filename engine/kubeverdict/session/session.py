"""A cluster that takes changes and answers questions."""

from __future__ import annotations

import threading

from kubeverdict.compile.compiled import CompiledPolicy
from kubeverdict.compile.compiler import Compilation, compilation
from kubeverdict.compile.incremental.editable import CannotEdit, Editable
from kubeverdict.errors import KubeverdictError
from kubeverdict.evaluate.scenarios.workbench import Workbench
from kubeverdict.model.cluster import Cluster
from kubeverdict.model.edit import Edit, edited
from kubeverdict.model.profile import PROFILES, REFERENCE, Profile
from kubeverdict.session.version import Version

# A state made anew takes over when it lacks few edits, or after some attempts to catch up.
_FEW, _TURNS = 4, 6


class Session:
    """Holds a compiled cluster and takes edits: to keep, or to judge and forget.

    An edit costs by what it touches, see :mod:`kubeverdict.compile.incremental`, unless that
    package does not follow it: then the cluster is compiled anew. What edits leave behind is
    cleared away by compiling anew in the background.

    Threads may share a session. A question reads one :class:`Version`, whole, and never waits;
    edits that are kept wait for each other.
    """

    def __init__(self, start: Version, made: Compilation | None = None) -> None:
        """``made`` is what ``start`` was compiled to, where that is at hand."""
        self._now = start
        self._made = made
        self._editable: Editable | None = None
        self._cannot = ""  # why the version now takes no edits
        self._lock = threading.RLock()
        self._fold: _Fold | None = None

    @classmethod
    def of(cls, cluster: Cluster, profile: Profile = REFERENCE, *, static: bool = False) -> Session:
        """Compile ``cluster``, see :func:`kubeverdict.compile.compiler.compile_cluster`."""
        made = compilation(cluster, profile, static=static)
        return cls(Version(0, made.compiled), made)

    @classmethod
    def resumed(cls, compiled: CompiledPolicy, workbench: Workbench | None = None) -> Session:
        """From a cluster that was compiled before, and made ready for scenarios, perhaps."""
        return cls(Version(0, compiled, workbench))

    @property
    def now(self) -> Version:
        """The cluster after all edits that were kept."""
        return self._now

    def keep(self, edit: Edit) -> Version:
        """The cluster after ``edit``, which later edits build on.

        What it takes out and the cluster has not is passed over. Raises KubeverdictError where
        the cluster cannot be compiled; it is then as it was.
        """
        with self._lock:
            editable = self._open()
            if editable is not None:
                self._editable = None  # half changed, should it fail
                try:
                    compiled = editable.apply(edit)
                except CannotEdit:
                    pass
                else:
                    self._editable = editable
                    self._now = Version(self._now.number + 1, compiled)
                    self._note(edit)
                    return self._now
            made = _anew(self._now.compiled, edit)
            self._start(Version(self._now.number + 1, made.compiled), made)
            return self._now

    def judge(self, edit: Edit) -> Version:
        """The cluster after ``edit``, which is then forgotten. Raises as :meth:`keep`."""
        with self._lock:
            editable, now = self._open(), self._now
            forgotten = editable.copy() if editable is not None else None
        if forgotten is not None:
            try:
                return Version(now.number + 1, forgotten.apply(edit))
            except CannotEdit:
                pass
        return Version(now.number + 1, _anew(now.compiled, edit).compiled)

    def _open(self) -> Editable | None:
        """The state that takes edits of the version now, made when it is first needed."""
        if self._editable is None and not self._cannot:
            compiled = self._now.compiled
            if self._made is None:
                self._made = compilation(compiled.cluster, compiled.profile, static=compiled.static)
            try:
                self._editable = Editable(self._made)
            except CannotEdit as error:
                self._cannot = str(error)
            self._made = None  # not needed any more, and as large as the compiled cluster
        return self._editable

    def _note(self, edit: Edit) -> None:
        """Have a fold that is under way follow, or start one where it is time."""
        assert self._editable is not None
        if self._fold is not None:
            self._fold.later.append(edit)
        elif self._editable.worn:
            self._fold = _Fold(self, self._now.compiled)

    def _start(self, version: Version, made: Compilation) -> None:
        self._now, self._made = version, made
        self._editable, self._cannot, self._fold = None, "", None

    def _left(self, fold: _Fold, editable: Editable, done: int, last: bool) -> list[Edit]:
        """The edits after the first ``done`` that a state which was made anew lacks. Where they
        are few, or with ``last``, they are made now, and it takes over."""
        with self._lock:
            if self._fold is not fold:
                return []  # the cluster was compiled anew meanwhile
            left = fold.later[done:]
            if len(left) > _FEW and not last:
                return left
            for edit in left:
                editable.apply(edit)
            self._fold, self._editable = None, editable
            self._now = Version(self._now.number, editable.compiled)
            return []

    def _end(self, fold: _Fold) -> None:
        with self._lock:
            if self._fold is fold:
                self._fold = None

    def settle(self) -> None:
        """Wait for what is done in the background."""
        with self._lock:
            fold = self._fold
        if fold is not None:
            fold.thread.join()


class _Fold:
    """Compiles the cluster of a session anew in the background, and brings it up to date."""

    def __init__(self, session: Session, compiled: CompiledPolicy) -> None:
        self.later: list[Edit] = []  # kept since; written under the lock of the session
        self._session = session
        self._compiled = compiled
        self.thread = threading.Thread(target=self._run, name="fold", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        old, session = self._compiled, self._session
        try:
            editable = Editable(compilation(old.cluster, old.profile, static=old.static))
            done = 0
            # Edits that come without a pause could be ahead for ever: the last ones wait.
            for turn in range(_TURNS):
                left = session._left(self, editable, done, turn == _TURNS - 1)
                for edit in left:
                    editable.apply(edit)
                done += len(left)
        except (CannotEdit, KubeverdictError):
            pass  # the session goes on as it is, and tries again after its next edit
        finally:
            session._end(self)


def _anew(compiled: CompiledPolicy, edit: Edit) -> Compilation:
    profile = PROFILES[edit.profile] if edit.profile else compiled.profile
    return compilation(edited(compiled.cluster, edit), profile, static=compiled.static)
