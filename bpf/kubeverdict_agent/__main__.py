"""Where the command ``kubeverdict-agent`` begins, also as ``python -m kubeverdict_agent``."""

from __future__ import annotations

from typing import NoReturn

from kubeverdict.command.failures import exit_with


def main() -> NoReturn:
    """Run the command line and exit with its status."""

    def command() -> int:
        from kubeverdict_agent.cli import main as command_line

        return command_line()

    exit_with("kubeverdict-agent", command)


if __name__ == "__main__":
    main()
