"""Where the command ``kubeverdict`` begins, also as ``python -m kubeverdict``."""

from __future__ import annotations

from typing import NoReturn

from kubeverdict.interrupts import end_at_interrupt


def main() -> NoReturn:
    """Run the command line and exit with its status."""
    end_at_interrupt()  # before the rest is imported: an interrupt may come at any time
    from kubeverdict.cli import main as command_line

    command_line()


if __name__ == "__main__":
    main()
