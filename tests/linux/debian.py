"""Debian's kernels: fetched by apt with lists of its own, and unpacked, not installed."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

# The release of Debian that has a version of Linux, oldest first.
RELEASES = {"5.10": "bullseye", "6.1": "bookworm", "6.12": "trixie"}
_META = "linux-image-amd64"  # depends on the current kernel of a release
_KEYS = "/usr/share/keyrings/debian-archive-keyring.gpg"


class NotToBeHad(Exception):
    """A kernel, or something that a guest is made of, cannot be had here; the text says what."""


@dataclass(frozen=True)
class DebianKernel:
    """A kernel in ``folder``: its image, its ``release`` (as uname has it), and its modules, which
    lie in ``folder/lib/modules/RELEASE``."""

    version: str
    release: str
    image: Path
    folder: Path

    @property
    def modules(self) -> Path:
        return self.folder / "lib" / "modules" / self.release


def fetch(version: str, folder: Path) -> DebianKernel:
    """Fetch the newest kernel of a version (a key of RELEASES) into an empty folder. Raises
    NotToBeHad."""
    lists = folder / "apt"
    for part in ("lists/partial", "archives/partial"):
        (lists / part).mkdir(parents=True)
    (lists / "sources.list").write_text(
        f"deb [signed-by={_KEYS}] {mirror()} {RELEASES[version]} main\n"
    )
    options = [
        f"Dir::Etc::SourceList={lists / 'sources.list'}",
        "Dir::Etc::SourceParts=/dev/null",
        f"Dir::State::Lists={lists / 'lists'}",
        f"Dir::Cache::Archives={lists / 'archives'}",
        # Kept in memory, so that the machine's own stay as they are.
        "Dir::Cache::PkgCache=",
        "Dir::Cache::SrcPkgCache=",
        "Acquire::Languages=none",
        # Another user could not write to a folder of ours.
        "APT::Sandbox::User=root",
    ]
    ours = [word for option in options for word in ("-o", option)]
    _run("apt-get", *ours, "update", "-qq")
    depends = _run("apt-cache", *ours, "depends", "--important", _META)
    names = [words[1] for line in depends.splitlines() if (words := line.split())[0] == "Depends:"]
    if not names:
        raise NotToBeHad(f"{RELEASES[version]} has no {_META}")
    _run("apt-get", *ours, "download", "-qq", names[0], below=folder)
    (package,) = folder.glob("*.deb")
    return unpack(version, package, folder)


def unpack(version: str, package: Path, folder: Path) -> DebianKernel:
    """The kernel in a package, and the index of its modules."""
    _run("dpkg-deb", "--extract", str(package), str(folder))
    # Debian 13 has modules below /usr alone.
    if not (folder / "lib").exists():
        (folder / "lib").symlink_to("usr/lib")
    (image,) = (folder / "boot").glob("vmlinuz-*")
    release = image.name.removeprefix("vmlinuz-")
    _run("depmod", "--basedir", str(folder), release)
    return DebianKernel(version, release, image, folder)


def mirror() -> str:
    """The mirror of Debian that this machine's apt uses."""
    found = _run(
        *("apt-get", "indextargets", "--format", "$(REPO_URI)"),
        *("Origin: Debian", "Label: Debian", "Component: main", "Created-By: Packages"),
    ).split()
    if not found:
        raise NotToBeHad("apt's sources name no mirror of Debian, or apt-get update never ran")
    return found[0]


def _run(*command: str, below: Path | None = None) -> str:
    try:
        done = subprocess.run(command, cwd=below, capture_output=True, text=True)
    except FileNotFoundError:
        raise NotToBeHad(f"{command[0]} is not installed") from None
    if done.returncode:
        message = (done.stderr or done.stdout).strip()
        raise NotToBeHad(f"{' '.join(command)}: status {done.returncode}: {message}")
    return done.stdout
