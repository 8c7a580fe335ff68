"""What an editor is connected to: drafts come in as they are typed, what they do goes out.

One draft is judged at a time. One that comes meanwhile waits, and takes the place of any that
waited before it; the one under way is left after the stage it is in. Answers carry the number of
their draft.
"""

from __future__ import annotations

from typing import Any

import anyio
import msgspec
from anyio.abc import TaskGroup
from anyio.to_thread import run_sync
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from kubeverdict.errors import KubeverdictError
from kubeverdict.server.drafts import Draft
from kubeverdict.server.workspace import Workspace

MOST_MESSAGE = 512 << 10
"""Bytes of one message; the server closes the connection at more."""

_UNUSABLE = 1007


class TypedDraft(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A draft, and the number by which its answers are known."""

    id: int
    draft: Draft


class TypingSocket:
    """The ASGI application behind the WebSocket."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        socket = WebSocket(scope, receive, send)
        await socket.accept()
        async with anyio.create_task_group() as tasks:
            await _Connection(self._workspace, socket, tasks).run()


class _Connection:
    """One editor."""

    def __init__(self, workspace: Workspace, socket: WebSocket, tasks: TaskGroup) -> None:
        self._workspace = workspace
        self._socket = socket
        self._tasks = tasks
        self._waiting: TypedDraft | None = None
        self._came = anyio.Event()

    async def run(self) -> None:
        self._tasks.start_soon(self._judge)
        try:
            while True:
                text = await self._socket.receive_text()
                self._waiting = msgspec.json.decode(text, type=TypedDraft)
                self._came.set()
        except (WebSocketDisconnect, KeyError):
            pass  # it went away, or sent bytes
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            await self._socket.close(_UNUSABLE, "not a draft")
        finally:
            self._tasks.cancel_scope.cancel()

    async def _judge(self) -> None:
        while True:
            await self._came.wait()
            self._came = anyio.Event()
            draft, self._waiting = self._waiting, None
            if draft is not None:
                await self._answer(draft)

    async def _answer(self, asked: TypedDraft) -> None:
        judging = await run_sync(self._workspace.judging)
        stages = judging.stages(asked.draft)
        while self._waiting is None:
            try:
                stage: Any = await run_sync(next, stages, None)
            except KubeverdictError as error:
                stage = {"stage": "failed", "error": str(error)}
            if stage is None:
                return
            content = msgspec.json.encode({"id": asked.id, **stage})
            try:
                await self._socket.send_text(content.decode())
            except (WebSocketDisconnect, RuntimeError):
                return  # it went away meanwhile
