"""Which kinds are followed: those that the server serves now, each by a reflector of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

from kubeverdict.errors import KubeverdictError
from kubeverdict.live.arrivals import Arrivals
from kubeverdict.live.client import ApiClient
from kubeverdict.live.credentials import Credentials
from kubeverdict.live.discovery import Served, discover
from kubeverdict.live.kubeconfig import Access
from kubeverdict.live.listing import wanted_of
from kubeverdict.live.reflector import KindState, Left, Notice, Reflector, Timing
from kubeverdict.manifests.resources import Resource

_LOOK_SECONDS = 60.0
# After a definition changed, the server takes a moment to serve what it defines.
_LOOK_AGAIN = (0.2, 0.5, 1.0, 3.0, 10.0)


class FollowedKinds:
    """The reflectors of one server. ``look`` asks it again what it serves, soon; that is done each
    minute anyway."""

    def __init__(
        self,
        access: Access,
        notices: Arrivals[Notice],
        wanted: Callable[[Served], bool],
        timing: Timing,
    ) -> None:
        self._access = access
        self._credentials = Credentials(access)
        self._notices = notices
        self._wanted = wanted
        self._timing = timing
        self._by_watch = threading.Event()
        self._by_watch.set()
        self._known: dict[Resource, Reflector] = {}
        self.unknown: dict[str, str] = {}
        self._looking = threading.Event()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kinds", daemon=True)

    def start(self) -> None:
        """Follow what is served now. Raises ApiError where the server tells nothing."""
        client = self._client()
        try:
            self._update(client)
        finally:
            client.close()
        self._thread.start()

    def look(self) -> None:
        self._looking.set()

    @property
    def reflectors(self) -> list[Reflector]:
        return list(self._known.values())

    @property
    def states(self) -> tuple[KindState, ...]:
        return tuple(one.state for one in self.reflectors)

    def close(self) -> None:
        self._closed.set()
        self._looking.set()
        for one in self.reflectors:
            one.close()
        if self._thread.is_alive():
            self._thread.join()
        for one in self.reflectors:
            one.close()
            one.join()

    def _client(self, tries: int = 8) -> ApiClient:
        return ApiClient(self._access, self._credentials, tries)

    def _run(self) -> None:
        client = self._client(1)
        while not self._closed.is_set():
            asked = self._looking.wait(_LOOK_SECONDS)
            self._looking.clear()
            for seconds in _LOOK_AGAIN if asked else (0.0,):
                # What was asked for meanwhile begins these looks anew.
                if self._looking.wait(seconds) or self._closed.is_set():
                    break
                # Where the server does not answer, the reflectors say so.
                with suppress(KubeverdictError):
                    self._update(client)
        client.close()

    def _update(self, client: ApiClient) -> None:
        found = discover(client)
        served = {
            (one.group, one.kind): one for one in wanted_of(found.served) if self._wanted(one)
        }
        self.unknown = dict(found.unknown)
        known = dict(self._known)
        for resource, reflector in self._known.items():
            now = served.get(resource)
            if now is None and resource[0] in found.unknown:
                continue  # its server does not answer: it may be there all the same
            if now != reflector.served:
                reflector.close()
                del known[resource]
                if now is None:
                    self._notices.put(Left(reflector), self._closed)
        for resource, one in served.items():
            if resource not in known:
                known[resource] = Reflector(
                    one, self._client(1), self._notices, self._timing, self._by_watch
                )
        new = [made for key, made in known.items() if self._known.get(key) is not made]
        self._known = known
        for made in new:
            made.start()
