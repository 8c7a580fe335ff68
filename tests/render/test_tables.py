"""The formats that are rows: table, csv, md and matrix."""

from __future__ import annotations

import csv as standard_csv
from itertools import pairwise

from kubeverdict.analyses.connections import Connection, Connections
from kubeverdict.analyses.differences import Differences
from kubeverdict.analyses.peers import pod_peer
from kubeverdict.render import csv, matrix, md, table
from kubeverdict.render.style import Style
from tests.render import reports

PLAIN = Style()
EMPTY = Connections("reference", (), {})
SAME = Differences("reference", (), (), ())


def test_table() -> None:
    assert table.connections(reports.CONNECTIONS, PLAIN).splitlines() == [
        "SOURCE                   DESTINATION              PORTS",
        "shop/web[Deployment]     data/db[StatefulSet]     TCP 5432",
        "shop/web[Deployment]     0.0.0.0-255.255.255.255  TCP 80,443-500,UDP 53",
        "0.0.0.0-255.255.255.255  shop/web[Deployment]     all connections",
    ]
    assert table.connections(EMPTY, PLAIN) == "no connections"


def test_families_have_a_column_where_they_differ() -> None:
    heading, row = table.connections(reports.FAMILIES, PLAIN).splitlines()
    assert heading.split() == ["SOURCE", "DESTINATION", "PORTS", "FAMILY"]
    assert row.endswith("  IPv4")


def test_table_of_differences() -> None:
    assert table.differences(reports.DIFFERENCES, PLAIN).splitlines() == [
        "CHANGE   SOURCE                   DESTINATION              BEFORE           AFTER",
        "added    shop/web[Deployment]     data/db[StatefulSet]     none             TCP 5432",
        "removed  shop/web[Deployment]     0.0.0.0-255.255.255.255  all connections  none",
        "changed  0.0.0.0-255.255.255.255  shop/web[Deployment]     TCP 5432         "
        "TCP 80,443-500,UDP 53",
    ]
    assert table.differences(SAME, PLAIN) == "no differences"


def test_differences_are_painted_on_a_terminal() -> None:
    lines = table.differences(reports.DIFFERENCES, Style(color=True)).splitlines()
    assert [line[:5] for line in lines[1:]] == ["\x1b[32m", "\x1b[31m", "\x1b[33m"]


def test_csv_reads_back() -> None:
    lines = csv.connections(reports.CONNECTIONS, PLAIN).splitlines()
    assert list(standard_csv.reader(lines)) == [
        ["source", "destination", "ports"],
        ["shop/web[Deployment]", "data/db[StatefulSet]", "TCP 5432"],
        ["shop/web[Deployment]", "0.0.0.0-255.255.255.255", "TCP 80,443-500,UDP 53"],
        ["0.0.0.0-255.255.255.255", "shop/web[Deployment]", "all connections"],
    ]
    changes = list(standard_csv.reader(csv.differences(reports.DIFFERENCES, PLAIN).splitlines()))
    assert [row[0] for row in changes] == ["change", "added", "removed", "changed"]
    assert changes[3][3:] == ["TCP 5432", "TCP 80,443-500,UDP 53"]


def test_markdown_escapes_what_markdown_would_eat() -> None:
    lines = md.connections(reports.CONNECTIONS, PLAIN).splitlines()
    assert lines[:3] == [
        "| source | destination | ports |",
        "| --- | --- | --- |",
        "| shop/web\\[Deployment\\] | data/db\\[StatefulSet\\] | TCP 5432 |",
    ]
    assert md.differences(reports.DIFFERENCES, PLAIN).count("\n") == 4


def test_matrix_counts_by_namespace() -> None:
    assert matrix.connections(reports.CONNECTIONS, PLAIN).splitlines() == [
        "columns: 1 data",
        "            1  2  3",
        "2 shop      1  ·  1",
        "3 external  ·  1  ·",
    ]
    assert matrix.connections(EMPTY, PLAIN) == "no connections"
    assert matrix.differences(reports.DIFFERENCES, Style(unicode=False)).splitlines()[2:] == [
        "2 shop      1  .  1",
        "3 external  .  1  .",
    ]
    assert matrix.differences(SAME, PLAIN) == "no differences"


def test_a_matrix_that_is_too_wide_comes_in_parts() -> None:
    names = [f"n{n:02}" for n in range(50)]
    peers = [pod_peer(f"{name}/a[Pod]", name) for name in names]
    # Everyone to one, and a ring.
    pairs = [(one, peers[0]) for one in peers] + list(pairwise(peers))
    report = Connections("reference", tuple(Connection(*ends, reports.ALL) for ends in pairs), {})
    text = matrix.connections(report, PLAIN)
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    parts = text.split("\n\n")
    assert len(parts) > 1
    # The first part has the column that all reach; the others have rows of their own only.
    rows = [len(part.splitlines()) for part in parts]
    assert rows[0] > len(names) > 2 * max(rows[1:])
