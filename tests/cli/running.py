"""Running the command as a user does."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import BytesIO, TextIOWrapper
from pathlib import Path

import kubeverdict
from kubeverdict.cli.main import cli

EXAMPLES = Path(kubeverdict.__file__).parent / "examples"
SHOP = EXAMPLES / "shop"
SHOP_CHANGE = EXAMPLES / "shop-change"
# Before a command: heed interrupts, also where the tests run in the background of a shell, which
# lets its children ignore them.
INTERRUPTIBLE = ("env", "--default-signal=INT")


def command() -> list[str]:
    """The installed executable, or else the module."""
    script = Path(sys.executable).with_name("kubeverdict")
    return [str(script)] if script.exists() else [sys.executable, "-m", "kubeverdict"]


@dataclass(frozen=True)
class Done:
    status: int
    out: str
    err: str


def run(
    *arguments: object, stdin: bytes = b"", folder: Path | None = None, **environment: str
) -> Done:
    """Run ``kubeverdict ARGUMENTS``; ``environment`` is set on top of this process's."""
    done = subprocess.run(
        [*command(), *map(str, arguments)],
        input=stdin,
        capture_output=True,
        cwd=folder,
        env={**os.environ, **environment},
        check=False,
    )
    assert b"Traceback" not in done.stderr, done.stderr.decode()
    return Done(done.returncode, done.stdout.decode(), done.stderr.decode())


def run_here(*arguments: object) -> Done:
    """The same in this process: a hundred times as fast, without the ends of a process."""
    out, err = (TextIOWrapper(BytesIO(), "utf-8") for _ in range(2))
    context = cli.make_context("kubeverdict", list(map(str, arguments)))
    with redirect_stdout(out), redirect_stderr(err), context:
        status = cli.invoke(context)
    texts = []
    for stream in (out, err):
        stream.seek(0)
        texts.append(stream.read())
    return Done(status, *texts)


WEB_AND_DB = """
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, labels: {app: web}}
status: {phase: Running, podIP: 10.0.0.1, podIPs: [{ip: 10.0.0.1}]}
---
apiVersion: v1
kind: Pod
metadata: {name: db, namespace: data, labels: {app: db}}
status: {phase: Running, podIP: 10.0.0.2, podIPs: [{ip: 10.0.0.2}]}
"""

DENY = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: deny, namespace: data}
spec: {podSelector: {}, policyTypes: [Ingress]}
"""
