"""What the kernel reports of files and folders (inotify), under the names by which they are read.

A folder is watched, not a file: a file that is replaced is another one afterwards. What a symbolic
link leads through is watched as well, because swapping a link changes everything behind it, as in a
mounted ConfigMap. The kernel reports nothing of what other machines do to a network file system,
nor of writing through a mapping, and it may have no room for a watch. So callers look by themselves
too: seldom where :attr:`complete`, else often.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from kubeverdict.manifests.folders import SUFFIXES

_MODIFY, _ATTRIB, _CLOSE_WRITE = 0x2, 0x4, 0x8
_MOVED_FROM, _MOVED_TO, _CREATE, _DELETE = 0x40, 0x80, 0x100, 0x200
_DELETE_SELF, _MOVE_SELF = 0x400, 0x800
_UNMOUNT, _OVERFLOW, _IGNORED, _ONLY_FOLDERS, _IS_FOLDER = 0x2000, 0x4000, 0x8000, 1 << 24, 1 << 30
_CHANGES = _MODIFY | _ATTRIB | _CLOSE_WRITE | _MOVED_FROM | _MOVED_TO | _CREATE | _DELETE
_WANTED = _CHANGES | _DELETE_SELF | _MOVE_SELF | _ONLY_FOLDERS
_EVENT = struct.Struct("iIII")  # watch, what, cookie, bytes of the name
_READ_BYTES = 1 << 16
_LONGEST_CHAIN = 40  # links on a path, as the kernel has it


@dataclass(slots=True)
class Noticed:
    """What changed since it was asked before: these ``files``, or perhaps anything
    (``everything``). ``replaced``: all that happened is that files were moved to their places."""

    files: set[str] = field(default_factory=set)
    everything: bool = False
    replaced: bool = True


@dataclass(slots=True)
class _Folder:
    """A watched folder: the paths by which its manifests are read, and what single names in it
    are: a file by its path, or None for something that everything may depend on."""

    read_as: set[str] = field(default_factory=set)
    names: dict[str, str | None] = field(default_factory=dict)


class PathWatch:
    """Watches ``paths``, files and folders that need not be there (yet)."""

    def __init__(self, paths: Sequence[str]) -> None:
        self._paths = tuple(paths)
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd: int = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        self._folders: dict[int, _Folder] = {}  # by watch
        self.complete = False

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What is readable once something changed."""
        return (self._fd,) if self._fd >= 0 else ()

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def cover(self) -> None:
        """Watch what the paths lead to now. To be called before what changed is looked at."""
        if self._fd < 0:
            return
        before, self._folders, self.complete = self._folders, {}, True
        for path in self._paths:
            self._cover_way(path)
            if os.path.isdir(path):
                self._cover_folder(path)
        for watch in before.keys() - self._folders.keys():
            self._libc.inotify_rm_watch(self._fd, watch)

    def _cover_way(self, path: str) -> None:
        """Watch everything on the way to a path."""
        *links, (last, name) = _way(path)
        for folder, link in links:
            self._name(folder, link, None)
        self._name(last, name, None if os.path.isdir(path) else path)

    def _name(self, folder: str, name: str, path: str | None) -> None:
        found = self._folder(folder)
        if found is not None:
            found.names[name] = path if found.names.get(name, path) == path else None

    def _cover_folder(self, path: str) -> None:
        found = self._folder(path)
        if found is None:
            return
        found.read_as.add(path)
        try:
            with os.scandir(path) as entries:  # after it is watched: nothing is missed
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    if entry.is_symlink():
                        self._cover_way(os.path.join(path, entry.name))
                    elif entry.is_dir(follow_symlinks=False):
                        self._cover_folder(os.path.join(path, entry.name))
        except OSError:
            self.complete = False  # reading it says what is wrong

    def _folder(self, path: str) -> _Folder | None:
        watch: int = self._libc.inotify_add_watch(self._fd, os.fsencode(path), _WANTED)
        if watch < 0:
            self.complete = False
            return None
        return self._folders.setdefault(watch, _Folder())

    def noticed(self) -> Noticed:
        """What was reported since the last call; never blocks."""
        found = Noticed()
        while self._fd >= 0:
            try:
                reported = os.read(self._fd, _READ_BYTES)
            except BlockingIOError:
                break
            at = 0
            while at < len(reported):
                watch, what, _, size = _EVENT.unpack_from(reported, at)
                at += _EVENT.size + size
                self._take(watch, what, os.fsdecode(reported[at - size : at].rstrip(b"\0")), found)
        return found

    def _take(self, watch: int, what: int, name: str, found: Noticed) -> None:
        folder = self._folders.get(watch)
        if what & _OVERFLOW or (folder is not None and not what & _CHANGES):
            found.everything, found.replaced = True, False
            return
        if folder is None:
            return  # it is not watched any more
        paths = {folder.names[name]} if name in folder.names else set[str | None]()
        if not name.startswith("."):
            wanted = what & _IS_FOLDER or name.lower().endswith(SUFFIXES)
            paths |= {os.path.join(parent, name) for parent in folder.read_as if wanted}
        for path in paths:
            if path is None or what & _IS_FOLDER or os.path.islink(path):
                found.everything, found.replaced = True, False
            else:
                found.files.add(path)
                found.replaced &= what == _MOVED_TO


def _way(path: str) -> Iterator[tuple[str, str]]:
    """Folder and name of each link on the way to a path, and of where it ends, at the latest where
    nothing is."""
    here = "/"
    left = os.path.abspath(path).split("/")[::-1]
    links = 0
    while left:
        name = left.pop()
        if name in ("", "."):
            continue
        if name == "..":
            here = os.path.dirname(here)
            continue
        whole = os.path.join(here, name)
        try:
            target = os.readlink(whole)
        except OSError:
            if not left or not os.path.lexists(whole):
                yield here, name
                return
            here = whole
            continue
        yield here, name
        links += 1
        if links == _LONGEST_CHAIN:
            return
        if target.startswith("/"):
            here = "/"
        left += target.split("/")[::-1]
