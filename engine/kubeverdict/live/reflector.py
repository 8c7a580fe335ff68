"""One kind of object, followed: listed, then watched from the version of the list.

A watch that ends goes on where it was, unless the server has forgotten that version, or has another
past: an etcd that was restored from a backup has, and its versions may since have grown beyond the
one that is known here. Before a watch goes on, the server is therefore asked whether it is still
behind no version that was seen, and, after an end that was not announced, whether it has an object
in the very version in which it was seen last. Otherwise everything is listed again.

Source: client-go's ``tools/cache`` (Reflector), KEP-3157 (lists by a watch).
"""

from __future__ import annotations

import heapq
import random
import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

import msgspec
from msgspec import Raw

from kubeverdict.errors import KubeverdictError
from kubeverdict.live.arrivals import Arrivals
from kubeverdict.live.client import ApiClient, ApiError, Stream
from kubeverdict.live.discovery import Served

_PAGE = 500
_BATCH = 500  # objects of a list that are handed over together
_WITNESSES = 8
_LARGE = 1_000  # objects: fewer are no load for a server, however many ask
_PATIENCE = 2  # lists by a watch that break off, before pages are tried
_IN_TIME, _CUT = "in time", "cut off"
_EXPIRED, _NOT_UNDERSTOOD = 410, (400, 405, 422)
# A server writes a bookmark each minute: after more than this without one, something is amiss.
QUIET_SECONDS = 75.0
_INITIAL_END = "k8s.io/initial-events-end"


class Timing(msgspec.Struct, frozen=True):
    """Seconds. ``silence``: without a line, before a watch is given up; ``watch``: that one lasts,
    at least, and at most twice; ``first_wait`` and ``longest_wait``: between attempts; ``spread``:
    over which large lists of many clients are spread, after the first."""

    silence: float = 90.0
    watch: float = 300.0
    first_wait: float = 0.25
    longest_wait: float = 30.0
    spread: float = 0.0


class KindState(msgspec.Struct, frozen=True):
    """How well a kind is known. ``heard`` is when the server last said something of it, on the
    clock of :func:`now`, 0 for never; ``error`` is why it is not followed at the moment, and
    ``unreachable`` whether that is for want of an answer."""

    kind: str
    heard: float = 0.0
    listed: bool = False
    error: str = ""
    unreachable: bool = False

    def age(self, at: float) -> float:
        """Seconds for which what is held may have been out of date."""
        return at - self.heard if self.stale(at) else 0.0

    def stale(self, at: float) -> bool:
        return bool(self.error) or not self.listed or at - self.heard > QUIET_SECONDS


def now() -> float:
    """Seconds on a clock that nobody sets, and that goes on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


# --- what is handed over -----------------------------------------------------------------------


class Listing(NamedTuple):
    """All objects follow, in place of those that are held."""

    source: Reflector


class ListPart(NamedTuple):
    """Some of them."""

    source: Reflector
    items: list[Raw]


class ListEnd(NamedTuple):
    """That was all. ``version`` is that of the list."""

    source: Reflector
    version: str


class Changed(NamedTuple):
    """One object changed. ``what`` is ``ADDED``, ``MODIFIED`` or ``DELETED``."""

    source: Reflector
    what: str
    item: Raw
    version: str


class Trouble(NamedTuple):
    """The kind cannot be followed at the moment; it is tried again."""

    source: Reflector
    error: KubeverdictError


class Resumed(NamedTuple):
    """The trouble is over, and changes go on where they were."""

    source: Reflector


class Left(NamedTuple):
    """The server does not serve the kind of ``source`` any more, which is closed."""

    source: Reflector


Notice = Left | Resumed | Listing | ListPart | ListEnd | Changed | Trouble


# --- shapes ------------------------------------------------------------------------------------


class _Metadata(msgspec.Struct, rename="camel"):
    namespace: str = ""
    name: str = ""
    resource_version: str = ""
    annotations: dict[str, str] | None = None


class _Object(msgspec.Struct):
    metadata: _Metadata = msgspec.field(default_factory=_Metadata)


class _ListMetadata(msgspec.Struct, rename="camel"):
    resource_version: str = ""
    next: str = msgspec.field(name="continue", default="")


class _List(msgspec.Struct):
    metadata: _ListMetadata = msgspec.field(default_factory=_ListMetadata)
    items: list[Raw] | None = None


class _Event(msgspec.Struct):
    type: str
    object: Raw


class _Details(msgspec.Struct, rename="camel"):
    retry_after_seconds: int = 0


class _Status(msgspec.Struct):
    code: int = 0
    reason: str = ""
    message: str = ""
    details: _Details | None = None


_object = msgspec.json.Decoder(_Object)
_list = msgspec.json.Decoder(_List)
_event = msgspec.json.Decoder(_Event)
_status = msgspec.json.Decoder(_Status)


class _Witness(NamedTuple):
    """An object as it was seen last."""

    namespace: str
    name: str
    version: str
    deleted: bool


class _NoInitialEventsError(Exception):
    """The server does not list by a watch."""


class Reflector:
    """Follows one kind in a thread of its own, and hands over what it sees.

    ``state`` may be read by any thread. What is handed over of a reflector that was closed is
    to be ignored.
    """

    def __init__(
        self,
        served: Served,
        client: ApiClient,
        notices: Arrivals[Notice],
        timing: Timing,
        by_watch: threading.Event,
    ) -> None:
        """``by_watch`` is set for as long as the server is believed to list by a watch."""
        self.served = served
        self.state = KindState(f"{served.name}.{served.group}" if served.group else served.name)
        self._client = client
        self._notices = notices
        self._timing = timing
        self._by_watch = by_watch
        self._version = ""
        self._expired = 0  # lists that did so, one after the other
        self._size = 0  # of the last list
        self._broken_lists = 0  # by a watch, that did not come to their end
        self._ended_how = ""  # the last watch, until it is known whether to go on
        self._witnesses: deque[_Witness] = deque(maxlen=_WITNESSES)
        self._stream: Stream | None = None
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"watch {served.name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def closed(self) -> bool:
        return self._ending.is_set()

    def close(self) -> None:
        """End the thread, soon."""
        self._ending.set()
        stream = self._stream
        if stream is not None:
            stream.interrupt()

    def join(self) -> None:
        if self._thread.is_alive():
            self._thread.join(5.0)

    # --- the thread ---------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._go_on()
        finally:
            self._client.close()

    def _go_on(self) -> None:
        attempt, seen_before = 0, False
        while not self.closed:
            heard = self.state.heard
            try:
                if not self._version:
                    if seen_before:
                        share = min(self._size / _LARGE, 1.0)
                        self._ending.wait(random.uniform(0, self._timing.spread * share))
                    self._list()
                    seen_before = True
                self._follow()
                attempt = 0
                continue
            except _NoInitialEventsError:
                self._by_watch.clear()
                continue
            except KubeverdictError as error:
                if self.closed:
                    return
                wait = self._failed(error)
            attempt = 0 if self.state.heard > heard else attempt + 1
            longest = min(self._timing.first_wait * 2.0**attempt, self._timing.longest_wait)
            self._ending.wait(max(wait, random.uniform(0.5, 1.0) * longest))

    def _failed(self, error: KubeverdictError) -> float:
        """Take note; the seconds that the server wants to be left alone."""
        wait = 0.0
        if isinstance(error, ApiError):
            wait = error.wait
            if error.status == _EXPIRED:
                self._version = ""
        unreachable = not isinstance(error, ApiError) or error.status == 0
        self._note(error=str(error), unreachable=unreachable)
        self._post(Trouble(self, error))
        return wait

    def _note(self, **fields: object) -> None:
        self.state = msgspec.structs.replace(self.state, **fields)

    def _heard(self) -> None:
        self._note(heard=now())

    def _post(self, notice: Notice) -> None:
        self._notices.put(notice, self._ending)

    # --- lists --------------------------------------------------------------------------------

    def _list(self) -> None:
        if self._by_watch.is_set() and self._broken_lists < _PATIENCE:
            return  # the watch begins with all that there is
        limit = {} if self._expired > 1 else {"limit": str(_PAGE)}
        query = dict(limit)
        self._post(Listing(self))
        self._size = 0
        first = True
        while not self.closed:
            try:
                page = self._page(query)
            except ApiError as error:
                self._expired = self._expired + 1 if error.status == _EXPIRED else 0
                raise
            items = page.items or []
            if first:
                self._witnesses.clear()
            self._remember(items if not page.metadata.next else items[-1:])
            first = False
            self._size += len(items)
            self._post(ListPart(self, items))
            self._heard()
            if not page.metadata.next:
                self._expired = 0
                self._ended(page.metadata.resource_version)
                return
            query = {**limit, "continue": page.metadata.next}

    def _page(self, query: dict[str, str]) -> _List:
        body = self._client.get(self.served.path, **query)
        try:
            return _list.decode(body)
        except (msgspec.DecodeError, UnicodeError) as error:
            raise ApiError(0, "", f"{self.served.path}: not a list: {error}") from None

    def _ended(self, version: str) -> None:
        self._version = version
        self._broken_lists = 0
        self._note(listed=True, error="", heard=now())
        self._post(ListEnd(self, version))

    def _remember(self, items: list[Raw]) -> None:
        found = (_object.decode(item).metadata for item in items)
        seen = [_Witness(one.namespace, one.name, one.resource_version, False) for one in found]
        newest = heapq.nlargest(_WITNESSES, (*self._witnesses, *seen), key=_number)
        self._witnesses = deque(reversed(newest), _WITNESSES)

    # --- watches ------------------------------------------------------------------------------

    def _follow(self) -> None:
        """Watch until the server ends that."""
        if self._version and self._ended_how and not self._is_the_same_past():
            self._version = ""
            return
        self._ended_how = ""
        initial = not self._version
        seconds = random.uniform(self._timing.watch, 2 * self._timing.watch)
        query = {"watch": "1", "allowWatchBookmarks": "true", "timeoutSeconds": f"{seconds:.0f}"}
        if initial:
            query |= {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}
            self._broken_lists += 1
        else:
            query["resourceVersion"] = self._version
        begun = now()
        try:
            stream = self._client.stream(self.served.path, self._timing.silence, **query)
        except ApiError as error:
            if initial and error.status in _NOT_UNDERSTOOD:
                raise _NoInitialEventsError from None
            raise
        self._stream = stream
        self._ended_how = _CUT
        try:
            if not self.closed:
                self._read(stream, initial)
        finally:
            self._stream = None
            stream.close()
        if now() - begun >= seconds - 1.5:
            self._ended_how = _IN_TIME

    def _read(self, stream: Stream, initial: bool) -> None:
        found: list[Raw] = []
        if initial:
            self._post(Listing(self))
            self._size = 0
            self._witnesses.clear()
        else:
            if self.state.error:
                self._post(Resumed(self))
            self._note(error="", heard=now())
        for what, item, metadata in self._events(stream):
            self._heard()
            if what == "BOOKMARK":
                if initial:
                    if (metadata.annotations or {}).get(_INITIAL_END) != "true":
                        raise _NoInitialEventsError
                    initial = False
                    self._hand_over(found)
                    self._ended(metadata.resource_version)
                self._version = metadata.resource_version or self._version
            elif initial:
                found.append(item)
                if len(found) >= _BATCH:
                    self._hand_over(found)
                    found = []
            else:
                self._witness(metadata, what == "DELETED")
                self._version = metadata.resource_version or self._version
                self._post(Changed(self, what, item, metadata.resource_version))
        if initial and not self.closed:
            raise ApiError(0, "", f"{self.served.path}: the list broke off")

    def _hand_over(self, items: list[Raw]) -> None:
        self._remember(items)
        self._size += len(items)
        self._post(ListPart(self, items))

    def _events(self, stream: Stream) -> Iterator[tuple[str, Raw, _Metadata]]:
        for line in stream:
            try:
                event = _event.decode(line)
                if event.type == "ERROR":
                    status = _status.decode(event.object)
                else:
                    metadata = _object.decode(event.object).metadata
                    yield event.type, event.object, metadata
                    continue
            except (msgspec.DecodeError, UnicodeError) as error:
                raise ApiError(0, "", f"{self.served.path}: no event: {error}") from None
            wait = float(status.details.retry_after_seconds if status.details else 0)
            message = f"{self.served.path}: {status.message or status.reason}"
            raise ApiError(status.code, status.reason, message, wait)

    def _witness(self, metadata: _Metadata, deleted: bool) -> None:
        key = (metadata.namespace, metadata.name)
        others = [one for one in self._witnesses if (one.namespace, one.name) != key]
        self._witnesses = deque(others, _WITNESSES)
        self._witnesses.append(_Witness(*key, metadata.resource_version, deleted))

    # --- the past of the server ---------------------------------------------------------------

    def _is_the_same_past(self) -> bool:
        """Whether what was seen before the last watch ended is what the server remembers."""
        version = self._page({"limit": "1"}).metadata.resource_version
        if not (version.isdigit() and self._version.isdigit()):
            return True  # versions that cannot be compared
        if int(version) < int(self._version):
            return False
        if self._ended_how == _IN_TIME or not self._witnesses:
            return True
        for one in reversed(self._witnesses):
            found = self._find(one)
            if one.deleted:
                if found and int(found) < int(one.version):
                    return False  # it was deleted, and is there as it was before
            elif found == one.version:
                return True
        return all(one.deleted for one in self._witnesses)

    def _find(self, one: _Witness) -> str:
        """The version of an object now, empty where there is none."""
        wanted = f"metadata.name={one.name}"
        if one.namespace:
            wanted += f",metadata.namespace={one.namespace}"
        for item in self._page({"fieldSelector": wanted}).items or ():
            return _object.decode(item).metadata.resource_version
        return ""


def _number(one: _Witness) -> int:
    return int(one.version) if one.version.isdigit() else 0
