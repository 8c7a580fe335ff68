"""Writing and reading whole snapshots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec

from kubeverdict.compile.compiled import CompiledPolicy
from kubeverdict.errors import UsageError
from kubeverdict.model.gc_pause import collector_paused
from kubeverdict.snapshots.container import Data, SnapshotFile, mapped, replace_file
from kubeverdict.snapshots.layout import fingerprint
from kubeverdict.snapshots.reading import Reader
from kubeverdict.snapshots.writing import Tree, Writer

if TYPE_CHECKING:
    from kubeverdict.evaluate.scenarios.workbench import Workbench

Remark = tuple[str, str]
"""What there was to say when the cluster was read: ``warning``, ``skipped`` or ``note``, and a
sentence."""


class _Content(msgspec.Struct, frozen=True, array_like=True):
    """The tree of a snapshot."""

    compiled: Tree
    workbench: Tree
    tables: dict[str, Tree]
    remarks: tuple[Remark, ...]


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A snapshot that was read.

    ``path`` is the file as the user named it, or where else it came from. ``digest`` is the same
    for snapshots of the same content. ``remarks`` are the notes and warnings of reading the
    input, to be shown again: that policies of a kind were not evaluated, for instance.
    """

    path: str
    digest: str
    compiled: CompiledPolicy
    remarks: tuple[Remark, ...]
    _reader: Reader
    _workbench: Tree

    @cached_property
    def workbench(self) -> Workbench | None:
        """The workbench, if one was stored. Its arrays are read at the first call."""
        if self._workbench is None:
            return None
        workbench: Workbench = self._reader.value(_workbench_type(), self._workbench)
        return workbench


def write(
    path: str,
    compiled: CompiledPolicy,
    workbench: Workbench | None = None,
    *,
    remarks: Sequence[Remark] = (),
) -> None:
    """Write a snapshot of ``compiled`` to the file at ``path``.

    With ``workbench``, which must be of ``compiled``, many scenarios can be judged without
    preparing it again. Raises UsageError where the file cannot be written.
    """
    replace_file(path, _parts(compiled, workbench, remarks))


def to_bytes(
    compiled: CompiledPolicy, workbench: Workbench | None = None, *, remarks: Sequence[Remark] = ()
) -> bytes:
    """What :func:`write` would put into a file."""
    return b"".join(_parts(compiled, workbench, remarks))


def _parts(
    compiled: CompiledPolicy, workbench: Workbench | None, remarks: Sequence[Remark]
) -> list[bytes | memoryview]:
    writer = Writer()
    try:
        with collector_paused():
            tree = writer.value(CompiledPolicy, compiled, "compiled")
            workbench_tree = (
                None
                if workbench is None
                else writer.value(_workbench_type(), workbench, "workbench")
            )
            content = _Content(tree, workbench_tree, writer.tables(), tuple(remarks))
            return writer.builder.parts(content, _layout())
    except UnicodeEncodeError as error:
        raise UsageError(f"a snapshot cannot hold the text {error.object!r}") from None


def _workbench_type() -> Any:
    """Loaded when a snapshot is read or written: every input is asked whether it is one."""
    from kubeverdict.evaluate.scenarios.workbench import Workbench

    return Workbench


def _layout() -> str:
    return fingerprint(CompiledPolicy, _workbench_type())


def read(path: str) -> Snapshot:
    """Open the snapshot at ``path``.

    The file is mapped and its header checked; of its arrays those of the compiled cluster are
    checked now, others when they are used. Raises InputError, then or later, that names the file
    and says what is wrong: not a snapshot, damaged, cut short, written by another version.
    """
    return read_bytes(mapped(path), path)


def read_bytes(data: Data, name: str = "snapshot") -> Snapshot:
    """As :func:`read`, for a snapshot in memory that errors call ``name``."""
    container = SnapshotFile(data, name, _layout())
    try:
        content = msgspec.msgpack.decode(container.header.tree, type=_Content)
    except msgspec.MsgspecError as error:
        raise container.damaged(str(error)) from error
    reader = Reader(container, content.tables)
    return Snapshot(
        path=name,
        digest=container.header.digest,
        compiled=reader.value(CompiledPolicy, content.compiled),
        remarks=content.remarks,
        _reader=reader,
        _workbench=content.workbench,
    )
