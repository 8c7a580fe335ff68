"""``./run test-kernels``: the agent's tests on other kernels, in guests."""

from __future__ import annotations

import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.linux import debian, guest
from tests.linux.debian import RELEASES, NotToBeHad
from tests.linux.guest import GuestFailed

ROOT = Path(__file__).parents[2]
# What is promised to work, as far as Debian has it.
VERSIONS = ("6.1", "6.12")
# What other kernels may do differently, in minutes: a guest is thirty times as slow as the machine.
CHOSEN = (
    "tests/agent/test_kernel_features.py",
    "tests/agent/test_connections.py",
    "tests/agent/test_packets.py",
    "tests/agent/test_hooks.py::test_filters_are_read_back",
    "tests/agent/test_hooks.py::test_clsact_finds_no_room_beside_an_ingress_qdisc_and_says_so",
    "tests/agent/test_hooks.py::test_filters_of_an_older_agent_are_replaced",
    "tests/agent/test_hooks.py::test_the_bandwidth_plugin_and_the_agent_in_either_order[True]",
    "tests/agent/test_traffic.py::test_old_connections_are_those_that_the_kernel_tracks[60-routed]",
)
_SILENCE = 900.0  # seconds, after which a guest is taken to hang
# pytest has a line for each test, so that a guest is not silent.
_PYTEST = ("-m", "pytest", "-v", "-p", "no:cacheprovider", "--benchmark-disable")
_FAILED, _NOT_TO_BE_HAD = 1, 2


def main(arguments: list[str]) -> int:
    versions, rest = split(arguments)
    # What was made is removed then, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    statuses = {version: _run(version, rest) for version in versions}
    for version, status in statuses.items():
        print(f"==> Linux {version}: {f'failed with status {status}' if status else 'passed'}")
    return max(statuses.values())


def split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """The versions of Linux in front, and the arguments for pytest: with the chosen tests where
    they name none."""
    count = next((n for n, one in enumerate(arguments) if one not in RELEASES), len(arguments))
    versions, rest = arguments[:count], arguments[count:]
    if not any((ROOT / one.partition("::")[0]).exists() for one in rest):
        rest = [*CHOSEN, *rest]
    return versions or list(VERSIONS), rest


def _run(version: str, arguments: list[str]) -> int:
    began = time.monotonic()
    environment = {
        "PYTHONPATH": f"{ROOT}:{ROOT / 'engine'}:{ROOT / 'bpf'}",
        "TMPDIR": "/run/tmp",
        # The machine's compiled kernels are for its own processor.
        "XDG_CACHE_HOME": "/run/cache",
        "COLUMNS": "100",
        "KUBEVERDICT_TEST_SLOWNESS": "10",
    }
    try:
        with tempfile.TemporaryDirectory(prefix="kubeverdict-linux-") as folder:
            kernel = debian.fetch(version, Path(folder))
            print(f"==> Linux {kernel.release}", flush=True)
            command = [sys.executable, *_PYTEST, *arguments]
            status = guest.run(kernel, command, ROOT, environment, _SILENCE)
    except (NotToBeHad, GuestFailed) as error:
        print(f"error: {error}", file=sys.stderr)
        status = _NOT_TO_BE_HAD if isinstance(error, NotToBeHad) else _FAILED
    print(f"==> took {time.monotonic() - began:.0f} s", flush=True)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
