"""Who is answered: the page that this server gave out, in the browser of this user.

A server on the loopback address can be reached by every page that the user's browser shows, and by
every other user of the machine. So

- the ``Host`` must be one of this server's own names: a foreign name that resolves to the
  loopback address (DNS rebinding) is refused;
- where a request says its ``Origin``, it must be this server's; what changes state or opens a
  WebSocket must say it;
- everything but the page itself needs a cookie, which is given for the token that was printed on
  the terminal. The page finds the token in the fragment of its address, which browsers send
  nowhere.

There is no CORS: no other origin may read an answer.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Sequence
from http.cookies import CookieError, SimpleCookie

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

NONCE = "nonce"
"""Under this name the scope of a request has the nonce that its answer may use for styles."""

_READS = ("GET", "HEAD")
_REFUSED = 1008  # of WebSockets: the policy forbids it


class PageAccess:
    """The secrets and the names of one server, which are new each time it starts."""

    def __init__(self, port: int) -> None:
        self.token = secrets.token_urlsafe(32)
        self._cookie = secrets.token_urlsafe(32)
        # Cookies do not tell ports apart, and several of these servers may run.
        self._name = f"kubeverdict-{port}"
        self.hosts = (f"127.0.0.1:{port}", f"localhost:{port}")
        self.origins = tuple(f"http://{host}" for host in self.hosts)

    def is_token(self, text: str) -> bool:
        return hmac.compare_digest(text.encode(), self.token.encode())

    @property
    def set_cookie(self) -> str:
        """The header that gives the cookie."""
        return f"{self._name}={self._cookie}; Path=/; HttpOnly; SameSite=Strict"

    def has_cookie(self, headers: Headers) -> bool:
        cookies: SimpleCookie = SimpleCookie()
        try:
            cookies.load(headers.get("cookie", ""))
        except CookieError:
            return False
        found = cookies.get(self._name)
        return found is not None and hmac.compare_digest(
            found.value.encode(), self._cookie.encode()
        )


class Guard:
    """Wraps an ASGI application. ``free`` are the paths that need no cookie."""

    def __init__(self, app: ASGIApp, access: PageAccess, free: Sequence[str]) -> None:
        self._app = app
        self._access = access
        self._free = frozenset(free)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        wrong = self._why_not(scope)
        if wrong and scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": _REFUSED, "reason": wrong[1]})
            return
        nonce = secrets.token_urlsafe(16)
        answer: ASGIApp = self._app
        if wrong:
            answer = JSONResponse({"error": wrong[1]}, status_code=wrong[0])
        else:
            scope[NONCE] = nonce

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._protect(MutableHeaders(scope=message), nonce)
            await send(message)

        await answer(scope, receive, guarded)

    def _why_not(self, scope: Scope) -> tuple[int, str] | None:
        """The status and the reason with which a request is refused; None where it is not."""
        headers = Headers(scope=scope)
        if headers.getlist("host") not in ([host] for host in self._access.hosts):
            return 421, "this server is not called so"
        socket = scope["type"] == "websocket"
        origins = headers.getlist("origin")
        must_say = socket or scope["method"] not in _READS
        if (origins or must_say) and origins not in ([one] for one in self._access.origins):
            return 403, "a request from another page"
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            return 403, "a request from another page"
        if scope["path"] not in self._free and not self._access.has_cookie(headers):
            return 401, "open the address that the server printed when it started"
        return None

    def _protect(self, headers: MutableHeaders, nonce: str) -> None:
        sockets = " ".join(f"ws://{host}" for host in self._access.hosts)
        headers["content-security-policy"] = "; ".join(
            (
                "default-src 'self'",
                f"connect-src 'self' {sockets}",
                # CodeMirror makes a style sheet of its own, which it marks with the nonce.
                f"style-src 'self' 'nonce-{nonce}'",
                "img-src 'self' data: blob:",
                "object-src 'none'",
                "base-uri 'none'",
                "form-action 'none'",
                "frame-ancestors 'none'",
            )
        )
        headers["x-content-type-options"] = "nosniff"
        headers["referrer-policy"] = "no-referrer"
        headers["cross-origin-opener-policy"] = "same-origin"
        headers["cross-origin-resource-policy"] = "same-origin"
        headers["cache-control"] = "no-store"
