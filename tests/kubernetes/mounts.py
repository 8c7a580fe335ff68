"""What is mounted on this machine, for tests that leave nothing behind."""

from __future__ import annotations

from pathlib import Path


def mounts() -> list[str]:
    """The lines of ``/proc/mounts`` but for named network namespaces, which tests that run at the
    same time make and remove."""
    lines = Path("/proc/mounts").read_text().splitlines()
    return [line for line in lines if not line.startswith("nsfs ")]
