"""Where the command ``kubeverdict`` begins, also as ``python -m kubeverdict``."""

from __future__ import annotations

import sys
from pathlib import PurePath
from typing import NoReturn

from kubeverdict.command.failures import exit_with
from kubeverdict.command.interrupts import end_at_interrupt


def main() -> NoReturn:
    """Run the command line and exit with its status."""
    end_at_interrupt()  # before the rest is imported: an interrupt may come at any time
    plugin = PurePath(sys.argv[0]).name == "kubectl-kubeverdict"
    name = "kubectl kubeverdict" if plugin else "kubeverdict"

    def command() -> int:
        from kubeverdict.cli.main import cli
        from kubeverdict.command.running import run

        return run(cli, name)

    exit_with(name, command)


if __name__ == "__main__":
    main()
