"""Parquet files, through pyarrow: an extra, because most logs are text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from kubeverdict.errors import InputError, Problem, UsageError

if TYPE_CHECKING:
    from kubeverdict.flowlogs.columns import Mapping

MAGIC = b"PAR1"
_ROWS = 16_384


def rows(path: str, mapping: Mapping) -> Iterator[list[dict[str, Any]]]:
    """The rows of a file, some thousands at a time, with the columns that the mapping names."""
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        raise UsageError(
            f"{path}: parquet needs pyarrow: pip install 'kubeverdict[parquet]'"
        ) from None
    try:
        with parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            if not mapping.fits(names):
                raise InputError(
                    [Problem(path, 0, "", f"use --columns: its columns are {', '.join(names)}")]
                )
            wanted = list(mapping.found_in(names).values())
            for batch in file.iter_batches(_ROWS, columns=wanted):
                yield batch.to_pylist()
    except (OSError, ArrowException) as error:
        raise InputError([Problem(path, 0, "", f"cannot be read: {error}")]) from None
