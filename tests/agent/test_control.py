"""The control socket: its owner's alone, and hard to upset."""

from __future__ import annotations

import ctypes
import os
import platform
import socket
import stat
import tempfile
import threading
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from kubeverdict.errors import UsageError
from kubeverdict_agent.control import control_socket


def echo(request: dict[str, Any]) -> object:
    return {"got": request}


def fail(request: dict[str, Any]) -> object:
    raise UsageError("not like this")


def crash(request: dict[str, Any]) -> object:
    raise ZeroDivisionError("a bug")


def numbers(request: dict[str, Any]) -> Iterator[object]:
    return ({"number": number} for number in count())


HANDLERS: dict[str, control_socket.Handler] = {
    "echo": echo,
    "fail": fail,
    "crash": crash,
    "numbers": numbers,
}


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    server = control_socket.ControlSocket(tmp_path / control_socket.SOCKET, HANDLERS)
    yield tmp_path
    server.close()
    assert not (tmp_path / control_socket.SOCKET).exists()


def send(state: Path, data: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(60)
        connection.connect(str(state / control_socket.SOCKET))
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while part := connection.recv(65536):
            answer += part
        return answer


def test_an_answer_for_a_question(state: Path) -> None:
    assert control_socket.ask(state, "echo", one=1, text="ä") == {"got": {"one": 1, "text": "ä"}}


@pytest.mark.parametrize(
    "verb, complaint",
    [
        ("fail", r"not like this"),
        ("crash", r"ZeroDivisionError: a bug"),
        ("nothing", r"no such verb; there are crash, echo, fail, numbers"),
    ],
)
def test_complaints_reach_the_asker(state: Path, verb: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        control_socket.ask(state, verb)
    assert control_socket.ask(state, "echo") == {"got": {}}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"no json\n",
        b"\xff\xfe\x00\n",
        b'{"verb": "echo"',
        b"[1, 2]\n",
        b'{"verb": 7}\n',
        b'{"verb": {"a": []}}\n',
        b"[" * 50_000 + b"\n",
        b"x" * 200_000,
    ],
    ids=repr,
)
def test_a_malformed_request_takes_nothing_down(state: Path, data: bytes) -> None:
    try:
        answer = send(state, data)
    except ConnectionError:
        answer = b'{"error"'  # hung up before all of it was sent
    assert answer.startswith(b'{"error"')
    assert control_socket.ask(state, "echo") == {"got": {}}


def test_followers_that_hang_up_are_let_go(state: Path) -> None:
    for _ in range(100):
        stream = control_socket.follow(state, "numbers", patience=60)
        assert [next(stream) for _ in range(3)] == [{"number": number} for number in range(3)]
        stream.close()  # type: ignore[attr-defined]
    assert control_socket.ask(state, "echo") == {"got": {}}


def test_askers_do_not_wait_for_each_other(state: Path) -> None:
    idle = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) for _ in range(5)]
    try:
        for connection in idle:
            connection.connect(str(state / control_socket.SOCKET))
        answers: list[object] = []
        threads = [
            threading.Thread(target=lambda: answers.append(control_socket.ask(state, "echo")))
            for _ in range(10)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert answers == [{"got": {}}] * 10
    finally:
        for connection in idle:
            connection.close()


def test_only_the_owner_may_ask(state: Path) -> None:
    mode = stat.S_IMODE((state / control_socket.SOCKET).stat().st_mode)
    assert mode == 0o600
    if os.geteuid() != 0:
        pytest.skip("becoming somebody else needs root")
    # Even where the file's mode is got round, the kernel says who asks.
    with tempfile.TemporaryDirectory() as open_folder:
        os.chmod(open_folder, 0o755)
        path = Path(open_folder, control_socket.SOCKET)
        server = control_socket.ControlSocket(path, HANDLERS)
        os.chmod(path, 0o666)
        answers: list[bytes] = []

        def ask_as_nobody() -> None:
            # Of this thread alone: the library's function would change all of them.
            number = {"x86_64": 117, "aarch64": 147}[platform.machine()]  # setresuid
            assert ctypes.CDLL(None).syscall(number, 65534, 65534, 65534) == 0
            answers.append(send(Path(open_folder), b'{"verb": "echo"}\n'))

        thread = threading.Thread(target=ask_as_nobody)
        thread.start()
        thread.join()
        server.close()
    assert answers == [b'{"error":"only root and the user of the agent may ask"}\n']


def test_without_an_agent(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no agent answers at .*agent\.sock"):
        control_socket.ask(tmp_path, "status")


@pytest.mark.parametrize("said", [b"", b'{"number": 1', b"12", b"no json\n"])
def test_an_agent_that_dies_within_an_answer(tmp_path: Path, said: bytes) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(tmp_path / control_socket.SOCKET))
        listener.listen()

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(said)

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(UsageError, match=r"agent"):
            control_socket.ask(tmp_path, "status")
        thread.join()


def test_a_socket_that_a_killed_agent_left_is_replaced(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as left:
        left.bind(str(tmp_path / control_socket.SOCKET))
    server = control_socket.ControlSocket(tmp_path / control_socket.SOCKET, HANDLERS)
    assert control_socket.ask(tmp_path, "echo") == {"got": {}}
    server.close()
