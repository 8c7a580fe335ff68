"""How ``serve`` starts, and how it ends when it cannot."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.running import EXAMPLES, SHOP, run
from tests.server.serving import served

ASSERTIONS = EXAMPLES / "shop-assertions.yaml"


def test_what_cannot_be_served_is_said(tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text("kind: Pod\nmetadata: {name: A}\n")
    (tmp_path / "empty.yaml").write_text("")
    (tmp_path / "none.yaml").write_text("apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for arguments, said in (
            ([], "-f"),
            (["-f", "nowhere"], "nowhere"),
            (["-f", "broken.yaml"], "broken.yaml:"),
            (["-f", "empty.yaml"], "empty.yaml"),
            (["-f", "none.yaml"], "no pod"),
            (["-f", SHOP, "--port", port], f"--port {port}: cannot listen on it"),
            (["-f", SHOP, "--port", "-1"], "--port"),
            (["-f", SHOP, "--port", "65536"], "--port"),
            (["-f", SHOP, "--port", "x"], "--port"),
            (["-f", SHOP, "--assertions", "nowhere"], "nowhere"),
            (["-f", SHOP, "--assertions", "empty.yaml"], "empty.yaml"),
            (["-f", SHOP, "--assertions", tmp_path], "folder"),
            (["-f", SHOP, "--cni", "x"], "--cni"),
        ):
            done = run("serve", *arguments, folder=tmp_path)
            assert done.status == 2 and not done.out and said in done.err, (arguments, done)


def test_a_snapshot_has_no_text_to_edit(tmp_path: Path) -> None:
    kept = tmp_path / "kept.kvs"
    assert run("snapshot", "-f", SHOP, "-o", kept).status == 0
    done = run("serve", "-f", kept)
    assert done.status == 2 and "holds no text to edit" in done.err


@pytest.mark.parametrize("missing", ["starlette", "uvicorn", "websockets", "anyio"])
def test_without_the_extra_it_says_what_to_install(missing: str, tmp_path: Path) -> None:
    """As where the extra is not installed: the package cannot be found."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "class Missing:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.partition('.')[0] == {missing!r}:\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Missing())\n"
    )
    paths = [str(tmp_path), *filter(None, sys.path)]
    done = run("serve", "-f", SHOP, PYTHONPATH=os.pathsep.join(paths))
    assert done.status == 2 and not done.out
    assert done.err == f"error: serve needs {missing}: pip install 'kubeverdict[serve]'\n"


def test_an_interrupt_ends_it() -> None:
    with served("-f", SHOP) as server:
        pass
    assert server.process.returncode == -signal.SIGTERM
    with pytest.raises(AssertionError, match="ended by itself"), served("-f", SHOP) as server:
        server.process.send_signal(signal.SIGINT)
        server.process.wait(10)
    assert server.process.returncode == 130


def test_the_port_is_the_one_that_was_asked_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with served("-f", SHOP, "--port", port, "--cni", "calico") as server:
        assert server.port == port
        overview = server.ask("/api/overview").json
    assert overview["profile"].startswith("calico") and overview["assertions"] == ""


def test_the_packages_of_the_page_are_loaded_by_serve_alone() -> None:
    code = (
        "import sys, kubeverdict.cli.main; "
        "print(sorted({'starlette', 'uvicorn', 'websockets', 'anyio'} & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
