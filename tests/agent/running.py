"""An agent as users run it, in a process of its own on a lab's node, for tests to talk to."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

from bench.lab import Lab, LabPod, bpffs, missing
from kubeverdict.errors import UsageError
from kubeverdict_agent.control import control_socket
from kubeverdict_agent.datapath import bpf_links, compiling
from kubeverdict_agent.errors import DatapathError

ROOT = Path(__file__).parents[2]
# How many times slower than usual things may be: ./run test-kernels emulates its processors.
SLOWNESS = float(os.environ.get("KUBEVERDICT_TEST_SLOWNESS", "1"))
PATIENCE = 60.0 * SLOWNESS  # seconds: the machine may be slow and busy

Found = TypeVar("Found")
_numbers = count(1)


def why_not() -> str | None:
    """Why no agent can run here, or None where one can."""
    reason = missing()
    if reason is None:
        try:
            compiling.find_bcc()
        except DatapathError as error:
            reason = str(error)
    return reason


def eventually(attempt: Callable[[], Found], what: str = "") -> Found:
    """The first true answer of ``attempt``, asked again and again."""
    end = time.monotonic() + PATIENCE
    while not (answer := attempt()):
        assert time.monotonic() < end, f"did not happen in {PATIENCE:.0f} s: {what or attempt}"
        time.sleep(0.01)
    return answer


class Agent:
    """``kubeverdict-agent run`` on the node of ``lab``; ``source`` is swapped as a whole."""

    def __init__(self, lab: Lab, folder: Path, pins: Path, node: str = "node") -> None:
        number = next(_numbers)
        self.lab = lab
        self.node = node
        self.folder = folder / f"agent{number}"
        self.folder.mkdir()
        self.pins = pins / f"agent{number}"
        self.state = self.folder / "state"
        self.source = self.folder / "source"
        self.logs = self.folder / "log"
        self.process: subprocess.Popen[str] | None = None
        self._versions = count(1)

    # --- input -------------------------------------------------------------------------------

    def put(self, *files: Path, texts: Mapping[str, str] | None = None) -> None:
        """Make these the source's files, in one step."""
        version = self.folder / f"v{next(self._versions)}"
        version.mkdir()
        for file in files:
            shutil.copy(file, version / file.name)
        for name, text in (texts or {}).items():
            (version / name).write_text(text)
        link = self.folder / "link"
        link.symlink_to(version.name)
        os.replace(link, self.source)

    def apply(self, *files: Path, texts: Mapping[str, str] | None = None) -> dict[str, Any]:
        """The same, and wait until it is in force, also where it removes much."""
        before = self.status()["readings"]
        self.put(*files, texts=texts)

        def in_force() -> bool:
            status = self.status()
            if any(one["alarm"] == "removals" for one in status["alarms"]):
                self.ask("confirm")
            return bool(status["readings"] > before)

        eventually(in_force, "source in force")
        return self.status()

    # --- the process -------------------------------------------------------------------------

    def start(self, *options: str, metrics: str = "", kubeconfig: Path | None = None) -> None:
        """With a ``kubeconfig`` it follows that cluster in place of files."""
        assert self.process is None
        source = ["--live", "--kubeconfig", str(kubeconfig)] if kubeconfig else ["-f", self.source]
        command = [
            *(sys.executable, "-m", "kubeverdict_agent", "run", "--node", self.node),
            *(*map(str, source), "--state", str(self.state), "--bpffs", str(self.pins)),
            *("--metrics", metrics, *options),
        ]
        with self.logs.open("a") as log:
            self.process = self.lab.on_node(
                lambda: subprocess.Popen(
                    command, stderr=log, stdout=log, text=True, env=environment()
                )
            )

    def wait_until_answering(self) -> None:
        def answers() -> bool:
            assert self.process is not None
            assert self.process.poll() is None, self.log_text()
            try:
                return bool(control_socket.ask(self.state, "status"))
            except UsageError:
                return False

        eventually(answers, "agent answers")

    def wait_until_in_force(self) -> None:
        """Until a publication of this process is in force and everything is bound."""
        self.wait_until_answering()
        try:
            eventually(lambda: self.status()["publications"] > 0, "a publication")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log_text()}") from None

    def wait_until_bound(self, *pods: LabPod) -> None:
        self.wait_until_names_bound(*(f"{pod.namespace}/{pod.name}" for pod in pods))

    def wait_until_names_bound(self, *wanted: str) -> None:
        """Pods as ``namespace/name``."""

        def are_bound() -> bool:
            bound = {one["pod"] for one in self.ask("endpoints") if one["state"] == "bound"}
            return bound.issuperset(wanted)

        eventually(are_bound, f"{wanted} bound")

    def kill(self) -> None:
        """As the kernel does it: no goodbye."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        self.process = None

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            assert self.process.wait(PATIENCE) == 0, self.log_text()
            self.process = None

    def close(self) -> None:
        """Whatever happened: end the process and remove what it made."""
        if self.process is not None:
            self.kill()
        if self.pins.is_dir():
            for pin in self.pins.iterdir():
                pin.unlink()
            self.pins.rmdir()

    # --- questions ---------------------------------------------------------------------------

    def ask(self, verb: str, **fields: object) -> Any:
        return control_socket.ask(self.state, verb, **fields)

    def status(self) -> dict[str, Any]:
        answer: dict[str, Any] = self.ask("status")
        return answer

    def set_mode(self, *settings: str) -> None:
        self.ask("mode", set=list(settings))

    def command(self, *arguments: str, status: int = 0) -> str:
        """What another command of the agent prints on this node."""
        verb, *rest = arguments
        places = ["--state", str(self.state)] if verb != "check" else []
        if verb in ("detach", "check"):
            places += ["--bpffs", str(self.pins)]
        done = self.lab.on_node(
            lambda: subprocess.run(
                [sys.executable, "-m", "kubeverdict_agent", verb, *places, *rest],
                capture_output=True,
                text=True,
                env=environment(),
                timeout=PATIENCE,
            )
        )
        assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
        return done.stdout

    def log_text(self) -> str:
        return self.logs.read_text()

    def filters(self, pod: LabPod) -> str:
        """What tc shows on the hooks of a pod's link."""
        shown = [
            self.lab.run(["tc", "filter", "show", "dev", pod.host_ifname, hook]).stdout
            for hook in ("ingress", "egress")
        ]
        return "".join(shown)

    def hooked(self, pod: LabPod) -> dict[str, list[int]]:
        """The numbers of the programs on the TCX hooks of a pod's link, as they run."""
        index = self.lab.host_ifindex(pod)
        return self.lab.on_node(
            lambda: {hook.name: bpf_links.programs_on(index, hook) for hook in bpf_links.Hook}
        )


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": f"{ROOT / 'engine'}:{ROOT / 'bpf'}", "PYTHONWARNINGS": ""}


@contextlib.contextmanager
def agent_on(lab: Lab, folder: Path, node: str = "node") -> Iterator[Agent]:
    """An agent that is not started yet; nothing of it is left afterwards."""
    with bpffs() as pins:
        agent = Agent(lab, folder, pins, node)
        try:
            yield agent
        finally:
            agent.close()
