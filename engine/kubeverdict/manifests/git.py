"""What git ignores, as git says: no other reader of ``.gitignore`` knows all its rules."""

from __future__ import annotations

import os

# Longer than this is not waited for.
_SECONDS = 10
_ASK = ("ls-files", "-z", "--others", "--ignored", "--exclude-standard", "--directory")


def ignored(folder: str) -> frozenset[str]:
    """The files and folders in ``folder`` that git ignores, as paths from there.

    Empty where it is no checkout or there is no git, and where ``folder`` is itself ignored:
    a file that is named is meant to be read.
    """
    if not _is_checkout(os.path.abspath(folder)):
        return frozenset()
    import subprocess

    # Variables of a hook that this may run in are about another folder.
    environment = {key: text for key, text in os.environ.items() if not key.startswith("GIT_")}
    environment["GIT_OPTIONAL_LOCKS"] = "0"
    try:
        done = subprocess.run(
            # The configuration of a checkout may name a program to run; that is not needed.
            ["git", "-C", folder, "-c", "core.fsmonitor=false", *_ASK],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=environment,
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return frozenset()
    found = [os.fsdecode(path) for path in done.stdout.split(b"\0") if path]
    if done.returncode or "./" in found:
        return frozenset()
    return frozenset(path.rstrip("/") for path in found)


def _is_checkout(folder: str) -> bool:
    while not os.path.exists(os.path.join(folder, ".git")):
        above = os.path.dirname(folder)
        if above == folder:
            return False
        folder = above
    return True
