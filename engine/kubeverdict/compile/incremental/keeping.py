"""A compiled cluster that keeps edits, one after the other, and stays small."""

from __future__ import annotations

import threading
from typing import NamedTuple

from kubeverdict.compile.compiled import CompiledPolicy
from kubeverdict.compile.compiler import Compilation, compilation
from kubeverdict.compile.incremental.after import compiled_after, compiled_anew, is_worth_following
from kubeverdict.compile.incremental.editable import CannotEdit, Editable
from kubeverdict.errors import KubeverdictError
from kubeverdict.model.edit import Edit

# A state made anew takes over when it lacks few edits, or after some attempts to catch up.
_FEW, _TURNS = 4, 6


class Kept(NamedTuple):
    """A cluster after a number of edits. ``anew`` is why the last of them had it compiled anew,
    empty where it was followed."""

    number: int
    compiled: CompiledPolicy
    anew: str = ""


class Keeper:
    """Keeps a cluster compiled while edits are made.

    An edit costs by what it touches, see :mod:`kubeverdict.compile.incremental`, unless that
    package does not follow it: then the cluster is compiled anew. What edits leave behind is
    cleared away by compiling anew in the background.

    Threads may share it: :attr:`now` never waits, edits wait for each other.
    """

    def __init__(self, start: Kept, made: Compilation | None = None) -> None:
        """``made`` is what ``start`` was compiled to, where that is at hand."""
        self._now = start
        self._made = made
        self._editable: Editable | None = None
        self._cannot = ""  # why the cluster as it is takes no edits
        self._has_judged = False
        self._lock = threading.RLock()
        self._fold: _Fold | None = None

    @property
    def now(self) -> Kept:
        """The cluster after all edits. Folding replaces what is compiled, not the number."""
        return self._now

    def keep(self, edit: Edit) -> Kept:
        """The cluster after ``edit``, which later edits build on.

        What it takes out and the cluster has not is passed over. Raises KubeverdictError where
        the cluster cannot be compiled; it is then as it was.
        """
        with self._lock:
            editable = self._open()
            anew = self._cannot
            if editable is not None:
                self._editable = None  # half changed, should it fail
                try:
                    compiled = editable.apply(edit)
                except CannotEdit as error:
                    anew = str(error)
                else:
                    self._editable = editable
                    self._now = Kept(self._now.number + 1, compiled)
                    self._note(edit)
                    return self._now
            made = compiled_anew(self._now.compiled, edit)
            self._start(Kept(self._now.number + 1, made.compiled, anew), made)
            return self._now

    def after(self, edit: Edit) -> Kept:
        """The cluster after ``edit``, which is then forgotten. Raises as :meth:`keep`."""
        with self._lock:
            now = self._now
            editable = self._open() if self._is_worth_opening(edit) else None
            forgotten = editable.copy() if editable is not None else None
        return Kept(now.number + 1, compiled_after(now.compiled, forgotten, edit))

    def _is_worth_opening(self, edit: Edit) -> bool:
        """Whether to follow an edit that is forgotten. Where nothing is at hand to follow it from,
        the first one is not worth compiling the cluster for: it may be the only one."""
        is_first = not (self._has_judged or self._made or self._editable)
        self._has_judged = True
        return not is_first and is_worth_following(self._now.compiled, edit)

    def open(self) -> None:
        """Make ready for edits now, which the first one would have to."""
        with self._lock:
            self._open()

    def _open(self) -> Editable | None:
        """The state that takes edits of the cluster now, made when it is first needed."""
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

    def _start(self, kept: Kept, made: Compilation) -> None:
        self._now, self._made = kept, made
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
            self._now = Kept(self._now.number, editable.compiled, self._now.anew)
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
    """Compiles a cluster anew in the background, and brings it up to date."""

    def __init__(self, keeper: Keeper, compiled: CompiledPolicy) -> None:
        self.later: list[Edit] = []  # kept since; written under the lock of the keeper
        self._keeper = keeper
        self._compiled = compiled
        self.thread = threading.Thread(target=self._run, name="fold", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        old, keeper = self._compiled, self._keeper
        try:
            editable = Editable(compilation(old.cluster, old.profile, static=old.static))
            done = 0
            # Edits that come without a pause could be ahead for ever: the last ones wait.
            for turn in range(_TURNS):
                left = keeper._left(self, editable, done, turn == _TURNS - 1)
                for edit in left:
                    editable.apply(edit)
                done += len(left)
        except (CannotEdit, KubeverdictError):
            pass  # it goes on as it is, and tries again after its next edit
        finally:
            keeper._end(self)
