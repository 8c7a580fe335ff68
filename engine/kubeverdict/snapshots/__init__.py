"""A compiled cluster as a file that is read in milliseconds.

In: a :class:`~kubeverdict.compile.compiled.CompiledPolicy`, a
:class:`~kubeverdict.evaluate.scenarios.workbench.Workbench` if there is one. Out: bytes, and from
bytes a :class:`Snapshot` that answers as the original does, down to the file and line of each rule.

Decided: arrays are views of the mapped file; pods, policies and rules are columns, made into
objects when they are asked for. What is stored follows from the declared types, so that this
package knows no field of a plane. A file is read by the version that wrote it: it can be made
again at any time, and an old answer taken for a new one would be worse than none.

Rejected: pickle (it runs what it reads, and reads everything), records of one object after
another (going through fifty thousand pods takes five times as long as by columns), and a
database (an array would have to be copied out of it).
"""

from __future__ import annotations

from kubeverdict.snapshots.container import is_snapshot
from kubeverdict.snapshots.snapshot import Remark, Snapshot, read, read_bytes, to_bytes, write

__all__ = ["Remark", "Snapshot", "is_snapshot", "read", "read_bytes", "to_bytes", "write"]
