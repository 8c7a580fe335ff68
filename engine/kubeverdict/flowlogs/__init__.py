"""Flow logs to batches of flow records.

In: files, folders and standard input, plain or gzip, of Hubble (and of our own agent, which
writes the same), Calico, the AWS agent, GKE, OVN, and of any source with named columns. Out:
:class:`LineBatch` after batch of :class:`~kubeverdict.model.flows.FlowRecord`, with what was in
between counted.

Decided: one module a format, which is a function from a line to a record, to the name of what the
line is instead, or to a ``ValueError``; the format of a file is detected from its first lines.
Files are read in chunks, so that memory does not depend on their size. A line that cannot be read
is skipped: logs are cut short and mixed up in practice, and they are many. It is counted, and the
first ones are named.

Rejected: pandas or polars for CSV and JSON (a dependency for what a decoder of bytes does as
fast), and resolving addresses to pods while reading (the reader does not know the cluster).
"""

from __future__ import annotations

from kubeverdict.flowlogs.columns import Mapping
from kubeverdict.flowlogs.reading import LineBatch, read

__all__ = ["LineBatch", "Mapping", "read"]
