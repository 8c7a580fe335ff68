"""A cluster behind its API server, followed: what the agent reads in place of files.

Only what a node needs is followed: pods, namespaces, nodes, Services with their endpoints, and
policies. While the server does not answer, what is in force stays, and :attr:`LiveSource.stale`
says so.

Of deletions only those of policies are held back (:mod:`removals`): that pods go is no accident of
a file that was cut short.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kubeverdict.errors import InputError, UsageError
from kubeverdict.live import Access
from kubeverdict.live.discovery import Served
from kubeverdict.live.following import Batch, Follower
from kubeverdict.live.reflector import Timing, now
from kubeverdict.manifests.policies import is_policy
from kubeverdict.model.cluster import Cluster
from kubeverdict.model.edit import Edit
from kubeverdict_agent.control.removals import Contents

_OBJECTS = frozenset(
    {
        *(("", kind) for kind in ("Pod", "Namespace", "Node", "Service")),
        ("discovery.k8s.io", "EndpointSlice"),
        ("", "Endpoints"),  # of servers that have no slices
    }
)
# Many agents lose their server at once: their lists come over so many seconds.
_TIMING = Timing(spread=30.0)
_TRY_AGAIN_SECONDS = 2.0
_SHORT_SECONDS = 2.0  # a connection that broke is mostly back before
_LOOK_SECONDS = 1.0  # between two looks at how old everything is


def is_needed(served: Served) -> bool:
    """Whether the agent asks for a kind."""
    return (served.group, served.kind) in _OBJECTS or is_policy(served.kind)


@dataclass(frozen=True, eq=False)
class LiveReading:
    """What an API server has told so far. Implements ``source.Reading``; times are seconds since
    the epoch."""

    changed_at: float
    edit: Edit | None
    remarks: tuple[str, ...]
    contents: Contents
    pods_written: float
    _follower: Follower

    @property
    def cluster(self) -> Cluster:
        """As it is now, which may be later than this was read."""
        return self._follower.whole()


class LiveSource:
    """Follows the cluster that ``access`` leads to. Implements ``source.ClusterSource``."""

    def __init__(
        self, access: Access, skip_invalid: bool = False, timing: Timing = _TIMING
    ) -> None:
        self._access = access
        self._skip_invalid = skip_invalid
        self._timing = timing
        self._follower: Follower | None = None
        self._try_at = 0.0
        self._edits: list[Batch] = []
        self._whole = True  # what was read last is not what an edit would start from
        self._wrong: object = ()  # the errors that were reported last
        self._contents: Contents = {}
        self._pods_written = 0.0
        self._failed = ""
        self._old: set[str] = set()  # the kinds that may be out of date
        self._stale = ""

    @property
    def descriptors(self) -> tuple[int, ...]:
        return (self._follower.descriptor,) if self._follower is not None else ()

    @property
    def quiet_seconds(self) -> float:
        return _LOOK_SECONDS

    @property
    def stale(self) -> str:
        """What may be out of date, in words; empty where nothing is."""
        if self._follower is None:
            return self._failed
        at = now()
        states = (one for one in self._follower.states if one.heard)
        old = {one.kind: one for one in states if one.age(at) >= _SHORT_SECONDS}
        if old.keys() != self._old:  # else the reasons change all the time
            first = next(iter(old.values()), None)
            reason = (first.error or "silence") if first else ""
            self._old = set(old)
            self._stale = f"{', '.join(old)} may be out of date: {reason}" if first else ""
        return self._stale

    @property
    def age(self) -> float:
        """Seconds for which what is known may have been out of date."""
        if self._follower is None:
            return 0.0
        at = now()
        return max((one.age(at) for one in self._follower.states if one.heard), default=0.0)

    def close(self) -> None:
        if self._follower is not None:
            self._follower.close()

    def changed(self) -> bool:
        if self._follower is None:
            return time.monotonic() >= self._try_at
        batch = self._follower.next(0.0)
        if batch is not None:
            self._edits.append(batch)
        return bool(self._edits) or (self._whole and not self._wrong)

    def forget(self) -> None:
        self._whole, self._wrong = True, ()

    def read(self, wait: Callable[[float], Any]) -> LiveReading:
        """As ``source.ClusterSource`` has it. Raises UsageError where the server cannot be
        reached, or pods or namespaces may not be read."""
        changed_at = time.time()
        if self._follower is None:
            self._start(lambda: bool(wait(0.0)))
        follower = self._follower
        assert follower is not None
        batches, self._edits = self._edits, []
        if batches:
            changed_at -= time.monotonic() - batches[0].at
        self._wrong = follower.errors if not self._skip_invalid else ()
        if self._wrong:
            self._whole = True  # edits from here on have no start that is in force
            raise InputError(list(follower.errors), list(follower.warnings))
        edit = None if self._whole or len(batches) != 1 else batches[0].edit
        self._whole = False
        if edit is None or edit.pods_in or edit.pods_out:
            self._pods_written = changed_at
        if edit is None or edit.policies_in or edit.policies_out:
            self._contents = {f"the API server of {self._access.name}": follower.policies}
        return LiveReading(
            changed_at, edit, self._remarks(), self._contents, self._pods_written, follower
        )

    def _remarks(self) -> tuple[str, ...]:
        assert self._follower is not None
        missing = (one.detail for one in self._follower.missing)
        skipped = self._follower.errors if self._skip_invalid else ()
        return (*map(str, skipped), *map(str, self._follower.warnings), *missing)

    def _start(self, ended: Callable[[], bool]) -> None:
        self._try_at = time.monotonic() + _TRY_AGAIN_SECONDS
        follower = Follower(self._access, skip_invalid=True, wanted=is_needed, timing=self._timing)
        self._follower = follower
        try:
            follower.start(ended=ended)
        except UsageError as error:
            self._follower, self._failed = None, str(error)
            follower.close()
            raise
        self._failed = ""
