"""A live cluster, followed: what each change opens and closes, and which assertions it breaks."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime

from kubeverdict.analyses.verify.verifying import verify
from kubeverdict.analyses.watched import (
    AssertionTurn,
    ClusterChange,
    Ended,
    Freshness,
    Started,
    Watched,
)
from kubeverdict.analyses.whatif import opening
from kubeverdict.compile.compiled import CompiledPolicy
from kubeverdict.live.following import Batch, Follower, Progress
from kubeverdict.live.reflector import now
from kubeverdict.model.assertions import Assertions
from kubeverdict.model.causes import Cause
from kubeverdict.model.profile import Profile
from kubeverdict.session.session import Session


class Watching:
    """Follows one cluster and says what happens, in the order in which it does."""

    def __init__(
        self,
        follower: Follower,
        profile: Profile,
        static: bool = False,
        assertions: Assertions | None = None,
    ) -> None:
        self._follower = follower
        self._profile = profile
        self._static = static
        self._assertions = assertions
        self._status: dict[str, str] = {}
        self._failing: set[str] = set()
        self._changes = 0
        self._session: Session | None = None

    def start(self, progress: Progress) -> Iterator[Watched]:
        """The cluster as it is, and its assertions. Raises as :meth:`Follower.start`."""
        cluster = self._follower.start(progress)
        self._session = Session.of(cluster, self._profile, static=self._static)
        compiled = self._session.now.compiled
        yield Started(
            _now(),
            self._follower.context,
            compiled.profile.name,
            len(compiled.pods),
            len(compiled.policies),
            compiled.unevaluated,
        )
        yield from self._assert(compiled, ())

    @property
    def compiled(self) -> CompiledPolicy:
        """The cluster after what was said last."""
        assert self._session is not None
        return self._session.now.compiled

    def next(self, seconds: float) -> Iterator[Watched]:
        """What happens until something does, at most for so many ``seconds``."""
        batch = self._follower.next(seconds)
        yield from self._freshness()
        if batch is not None:
            yield from self._judge(batch)

    def end(self) -> Ended:
        broken = (name for name, status in self._status.items() if status != "holds")
        return Ended(_now(), self._changes, tuple(broken))

    def _judge(self, batch: Batch) -> Iterator[Watched]:
        assert self._session is not None
        self._changes += 1
        before = self._session.now
        after = self._session.keep(batch.edit)
        same = after.compiled.planes is before.compiled.planes and not after.anew
        changed = None if same else opening(before.compiled, after.compiled)
        yield ClusterChange(
            _now(),
            batch.causes,
            changed.opened if changed else (),
            changed.closed if changed else (),
            changed.pairs if changed else (),
            time.monotonic() - batch.at,
            after.anew,
            after.compiled.unevaluated,
        )
        yield from self._assert(after.compiled, batch.causes)

    def _assert(self, compiled: CompiledPolicy, causes: tuple[Cause, ...]) -> Iterator[Watched]:
        if self._assertions is None:
            return
        for result in verify(compiled, self._assertions).results:
            before = self._status.get(result.name, "")
            self._status[result.name] = result.status
            if result.status != before:
                yield AssertionTurn(_now(), before, result, causes)

    def _freshness(self) -> Iterator[Watched]:
        at = now()
        for state in self._follower.states:
            stale = state.stale(at)
            if stale == (state.kind in self._failing) or (stale and not state.heard):
                continue
            if stale:
                self._failing.add(state.kind)
                error = state.error or "no word from the server"
            else:
                self._failing.discard(state.kind)
                error = ""
            yield Freshness(_now(), state.kind, error, at - state.heard)


def _now() -> datetime:
    return datetime.now(UTC)
