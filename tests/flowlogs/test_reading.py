"""Files, folders, pipes and archives to batches: nothing is lost without a word."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import pytest

from kubeverdict.errors import InputError, UsageError
from kubeverdict.flowlogs import LineBatch, Mapping, read, sources
from tests.flowlogs.test_formats import FLOW, OVN, line

GOOD = line({"flow": FLOW})


def total(batches: Sequence[LineBatch]) -> tuple[int, int, int, int]:
    """Lines, records, skipped and malformed."""
    return (
        sum(batch.lines for batch in batches),
        sum(len(batch.records) for batch in batches),
        sum(sum(batch.skipped.values()) for batch in batches),
        sum(len(batch.malformed) for batch in batches),
    )


def test_malformed_lines_are_counted_and_named(tmp_path: Path) -> None:
    path = tmp_path / "flows.jsonl"
    reply = line({"flow": {**FLOW, "is_reply": True}})
    path.write_bytes(b"\n".join([GOOD, b"garbage", b"", reply, b"\xff\xfe", GOOD]))
    batches = list(read([str(path)]))
    assert total(batches) == (5, 2, 1, 2)
    places = [str(problem) for batch in batches for problem in batch.malformed]
    assert places[0].startswith(f"{path}:2: ") and places[1].startswith(f"{path}:5: ")


def test_chunks_cut_lines_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "_CHUNK", 7)
    path = tmp_path / "flows.jsonl"
    path.write_bytes(b"\n".join([GOOD] * 20 + [b"x" * 50, GOOD]))
    batches = list(read([str(path)]))
    assert total(batches) == (22, 21, 0, 1)
    (problem,) = [problem for batch in batches for problem in batch.malformed]
    assert problem.line == 21


def test_a_line_without_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "_CHUNK", 1000)
    monkeypatch.setattr(sources, "_LONGEST", 5000)
    path = tmp_path / "flows.jsonl"
    path.write_bytes(b"\n".join([GOOD, b"y" * 50_000, GOOD]))
    lines, records, _, malformed = total(list(read([str(path)])))
    assert (records, malformed) == (2, 1)
    assert lines == 3


def test_archives_of_several_members(tmp_path: Path) -> None:
    path = tmp_path / "flows.jsonl.gz"
    path.write_bytes(gzip.compress(GOOD + b"\n") + gzip.compress(GOOD + b"\n" + GOOD))
    assert total(list(read([str(path)]))) == (3, 3, 0, 0)


@pytest.mark.parametrize("kept", [0.9, 0.3, 0.01])
def test_an_archive_that_is_cut_short_costs_what_is_missing(tmp_path: Path, kept: float) -> None:
    # Text that differs, so that little of it packs away.
    texts = [sha256(b"%d" % number).hexdigest() for number in range(2_000)]
    rows = [line({"flow": {**FLOW, "time": text}}) for text in texts]
    whole = gzip.compress(b"\n".join(rows))
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(whole[: int(len(whole) * kept)])
    (tmp_path / "b.jsonl").write_bytes(GOOD)
    batches = list(read([str(tmp_path)]))
    lines, records, skipped, malformed = total(batches)
    assert (skipped, malformed, lines) == (0, 1, records + 1)
    assert 2_000 * kept * 0.5 < records < 2_000
    (problem,) = [problem for batch in batches for problem in batch.malformed]
    assert str(problem) == f"{path}:{records}: ends in the middle of what gzip packed"


def test_an_archive_without_a_single_line(tmp_path: Path) -> None:
    path = tmp_path / "flows.log.gz"
    path.write_bytes(gzip.compress(GOOD)[:12])
    assert total(list(read([str(path)]))) == (1, 0, 0, 1)


def test_folders_and_standard_input(tmp_path: Path) -> None:
    (tmp_path / "b.log").write_bytes(OVN)
    (tmp_path / "a.jsonl").write_bytes(GOOD)
    (tmp_path / "empty.log").write_bytes(b"")
    (tmp_path / "notes.md").write_bytes(b"# not a log")
    assert total(list(read([str(tmp_path)]))) == (2, 2, 0, 0)
    assert total(list(read(["-"], io.BytesIO(GOOD)))) == (1, 1, 0, 0)
    empty = tmp_path / "nothing"
    empty.mkdir()
    with pytest.raises(InputError, match="holds no"):
        list(read([str(empty)]))
    with pytest.raises(InputError, match="cannot be read"):
        list(read([str(tmp_path / "missing.log")]))


def test_csv_with_a_heading(tmp_path: Path) -> None:
    path = tmp_path / "flows.csv"
    path.write_text("src,dst,port\n10.0.0.1,10.0.0.2,80\n10.0.0.1,oops,80\n")
    mapping = Mapping.of("source=src,destination=dst")
    assert total(list(read([str(path)], None, mapping))) == (2, 1, 0, 1)


@pytest.mark.parametrize("last", ["", "\n", "\r\n"])
def test_one_line_is_one_record(tmp_path: Path, last: str) -> None:
    path = tmp_path / "flows.csv"
    # Without a port, the name of a protocol that nobody knows is not a mistake.
    path.write_text(f"src,dst,protocol,dport\n10.0.0.3,10.0.0.1,TCP,5432{last}")
    mapping = Mapping.of("source_address=src,destination_address=dst,port=dport")
    assert total(list(read([str(path)], None, mapping))) == (1, 1, 0, 0)


def test_a_column_that_is_named_and_not_there_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "flows.csv"
    path.write_text("source,destination,port\n10.0.0.1,10.0.0.2,80\n")
    with pytest.raises(InputError, match="has no column dport: it has source, destination, port"):
        list(read([str(path)], None, Mapping.of("port=dport")))
    path.write_text("10.0.0.1,10.0.0.2,80\n")
    with pytest.raises(InputError, match="its first line has to name its columns"):
        list(read([str(path)]))


def test_files_that_were_put_together_have_more_headings(tmp_path: Path) -> None:
    path = tmp_path / "flows.csv"
    path.write_text("source,destination,port\n10.0.0.1,10.0.0.2,80\n" * 3)
    assert total(list(read([str(path)]))) == (3, 3, 0, 0)


def test_parquet(tmp_path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    path = tmp_path / "flows.parquet"
    table = pyarrow.table(
        {"src": ["10.0.0.1", "?"], "destination": ["shop/web", "shop/web"], "port": [80, 81]}
    )
    parquet.write_table(table, path)
    batches = list(read([str(path)], None, Mapping.of("source=src")))
    assert total(batches) == (2, 1, 0, 1)
    with pytest.raises(InputError, match="use --columns"):
        list(read([str(path)]))
    nested = pyarrow.table({"src": [{"ip": "10.0.0.1"}], "destination": ["shop/web"], "port": [80]})
    parquet.write_table(nested, path)
    assert total(list(read([str(path)], None, Mapping.of("source=src.ip")))) == (1, 1, 0, 0)
    assert total(list(read([str(path)], None, Mapping.of("source=src.no")))) == (1, 0, 0, 1)
    spelled = pyarrow.table({"Source": ["a/b"], "Destination": ["c/d"], "PORT": [80]})
    parquet.write_table(spelled, path)
    assert total(list(read([str(path)]))) == (1, 1, 0, 0)
    path.write_bytes(b"PAR1 and nothing behind it")
    with pytest.raises(InputError, match="cannot be read"):
        list(read([str(path)]))


def test_parquet_without_its_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "pyarrow", None)
    path = tmp_path / "flows.parquet"
    path.write_bytes(b"PAR1")
    with pytest.raises(UsageError, match="kubeverdict\\[parquet\\]"):
        list(read([str(path)]))


def test_json_of_other_makes(tmp_path: Path) -> None:
    path = tmp_path / "flows.jsonl"
    rows = [{"source": "a/b", "destination": "c/d", "port": 1, "verdict": "denied"}] * 3
    path.write_text("\n".join(map(json.dumps, rows)))
    assert total(list(read([str(path)]))) == (3, 3, 0, 0)
