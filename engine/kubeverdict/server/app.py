"""The HTTP API, and the files of the page."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from anyio.to_thread import run_sync
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp

from kubeverdict.errors import InputError, KubeverdictError, UsageError
from kubeverdict.server.guard import NONCE, Guard, PageAccess
from kubeverdict.server.typing_socket import TypingSocket
from kubeverdict.server.workspace import (
    CellQuestion,
    DraftQuestion,
    ExplainQuestion,
    VerifyQuestion,
    Workspace,
)

MOST_BODY = 512 << 10
"""Bytes that a request may have."""

PAGE = Path(__file__).parent / "page" / "dist"
_FILES = {
    "/": ("index.html", "text/html"),
    "/page.js": ("page.js", "text/javascript"),
    "/page.css": ("page.css", "text/css"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
_SESSION = "/api/session"
_NONCE = b"{{nonce}}"

Question = TypeVar("Question")
Handler = Callable[[Request], Awaitable[Response]]


class _TooLargeError(KubeverdictError):
    """A request has more bytes than are read."""


def application(workspace: Workspace, access: PageAccess) -> ASGIApp:
    """What the server runs. Everything is read only."""

    def asked(path: str, kind: type[Question], answer: Callable[[Question], Any]) -> Route:
        """Take a question as JSON, answer it in a thread."""

        async def handle(request: Request) -> Response:
            question = msgspec.json.decode(await _body(request), type=kind)
            return _json(await run_sync(partial(answer, question)))

        return Route(path, _failing(handle), methods=["POST"])

    async def open_session(request: Request) -> Response:
        given = msgspec.json.decode(await _body(request), type=_Token)
        if not access.is_token(given.token):
            return JSONResponse({"error": "this is not the token of this server"}, 401)
        return Response(status_code=204, headers={"set-cookie": access.set_cookie})

    async def overview(request: Request) -> Response:
        return _json(await run_sync(workspace.overview))

    async def counts(request: Request) -> Response:
        return _bytes(await run_sync(workspace.counts))

    async def cells(request: Request) -> Response:
        spans = (_span(request, "sources"), _span(request, "destinations"))
        return _bytes(await run_sync(partial(workspace.cells, *spans)))

    async def policy(request: Request) -> Response:
        key = request.query_params.get("key", "")
        return _json(await run_sync(partial(workspace.policy, key)))

    routes = [
        *(Route(path, partial(_page, *file)) for path, file in _FILES.items()),
        Route(_SESSION, _failing(open_session), methods=["POST"]),
        Route("/api/overview", _failing(overview)),
        Route("/api/map/counts", _failing(counts)),
        Route("/api/map/cells", _failing(cells)),
        asked("/api/map/cell", CellQuestion, workspace.cell),
        Route("/api/policy", _failing(policy)),
        asked("/api/explain", ExplainQuestion, workspace.explain),
        asked("/api/lint", DraftQuestion, workspace.lint),
        asked("/api/verify", VerifyQuestion, workspace.verify),
        asked("/api/patch", DraftQuestion, workspace.patch),
        WebSocketRoute("/api/draft", TypingSocket(workspace)),
    ]
    return Guard(Starlette(routes=routes), access, [*_FILES, _SESSION])


class _Token(msgspec.Struct, forbid_unknown_fields=True):
    token: str


async def _page(name: str, kind: str, request: Request) -> Response:
    """A file of the page; there are no others, whatever a path says."""
    content = (PAGE / name).read_bytes()
    if name == "index.html":
        content = content.replace(_NONCE, request.scope[NONCE].encode())
    return Response(content, media_type=kind)


async def _body(request: Request) -> bytes:
    kind = request.headers.get("content-type", "").partition(";")[0].strip()
    if kind != "application/json":
        raise UsageError("a question is application/json")
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > MOST_BODY:
            raise _TooLargeError(f"a question has at most {MOST_BODY >> 10} KiB")
        parts.append(part)
    return b"".join(parts)


def _span(request: Request, name: str) -> tuple[int, int]:
    first, _, stop = request.query_params.get(name, "").partition("-")
    if not all(part.isascii() and part.isdigit() and len(part) < 10 for part in (first, stop)):
        raise UsageError(f"{name}: write FIRST-STOP")
    return int(first), int(stop)


def _failing(handler: Handler) -> Handler:
    """Answers what is wrong with a question in a sentence."""

    async def handle(request: Request) -> Response:
        try:
            return await handler(request)
        except _TooLargeError as error:
            return JSONResponse({"error": str(error)}, 413)
        except InputError as error:
            problems = [
                {"file": one.file, "line": one.line, "field": one.field, "message": one.message}
                for one in error.problems
            ]
            return JSONResponse({"error": str(error), "problems": problems}, 400)
        except (KubeverdictError, msgspec.DecodeError, UnicodeError, RecursionError) as error:
            return JSONResponse({"error": str(error)}, 400)

    return handle


def _json(value: Any) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")


def _bytes(content: bytes) -> Response:
    return Response(content, media_type="application/octet-stream")
