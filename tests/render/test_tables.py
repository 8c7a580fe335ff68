"""The formats that are rows: table, csv, md and matrix."""

from __future__ import annotations

import csv as standard_csv
from itertools import pairwise

from kubeverdict.analyses.connections import Connections
from kubeverdict.analyses.differences import Differences
from kubeverdict.analyses.links import Fan, Target
from kubeverdict.analyses.peers import address_peer, pod_peer
from kubeverdict.render import csv, matrix, md, render, table
from kubeverdict.render.style import Style
from tests.render import reports

PLAIN = Style()
EMPTY = Connections("reference", (), {})
SAME = Differences("reference", (), (), ())


def shown(form: str, report: Connections, style: Style) -> str:
    return render("list", form, report, style)


def test_table() -> None:
    assert shown("table", reports.CONNECTIONS, PLAIN).splitlines() == [
        "SOURCE                DESTINATION           PORTS",
        "shop/web[Deployment]  data/db[StatefulSet]  TCP 5432",
        "shop/web[Deployment]  0.0.0.0/0             TCP 80,443-500,UDP 53",
        "0.0.0.0/0             shop/web[Deployment]  all",
    ]
    assert shown("table", EMPTY, PLAIN) == "no connections"


def test_long_ends_are_cut_short_and_whole_below() -> None:
    spans = [(n << 24, (n << 24) + 2**24 - 1) for n in range(1, 60, 2)]
    many = pod_peer("shop/web[Deployment]", "shop", [f"web-{n}" for n in range(30)])
    ends = [address_peer(4, spans), address_peer(4, [(0, 2**24 - 1), *spans[::-1][:1]]), many]
    fans = [Fan(reports.DB, [Target(end, reports.SQL, "") for end in ends])]
    lines = shown("table", Connections("reference", fans, {}), PLAIN).splitlines()
    assert lines[1:6] == [
        "data/db[StatefulSet]  1.0.0.0/8 and 29 more [1]          TCP 5432",
        "data/db[StatefulSet]  0.0.0.0/8, 59.0.0.0/8              TCP 5432",
        "data/db[StatefulSet]  shop/web[Deployment]{30 pods} [2]  TCP 5432",
        "",
        lines[5],
    ]
    assert lines[5].startswith("[1] 1.0.0.0/8, 3.0.0.0/8, ") and max(map(len, lines)) <= 80


def test_families_have_a_column_where_they_differ() -> None:
    heading, row = shown("table", reports.FAMILIES, PLAIN).splitlines()
    assert heading.split() == ["SOURCE", "DESTINATION", "PORTS", "FAMILY"]
    assert row.endswith("  IPv4")


def test_table_of_differences() -> None:
    assert table.differences(reports.DIFFERENCES, PLAIN).splitlines() == [
        "CHANGE   SOURCE                DESTINATION           BEFORE    AFTER",
        "added    shop/web[Deployment]  data/db[StatefulSet]  none      TCP 5432",
        "removed  shop/web[Deployment]  0.0.0.0/0             all       none",
        "changed  0.0.0.0/0             shop/web[Deployment]  TCP 5432  TCP 80,443-500,UDP 53",
    ]
    assert table.differences(SAME, PLAIN) == "no differences"


def test_differences_are_painted_on_a_terminal() -> None:
    lines = table.differences(reports.DIFFERENCES, Style(color=True)).splitlines()
    assert [line[:5] for line in lines[1:]] == ["\x1b[32m", "\x1b[31m", "\x1b[33m"]


def test_csv_reads_back() -> None:
    lines = shown("csv", reports.CONNECTIONS, PLAIN).splitlines()
    assert list(standard_csv.reader(lines)) == [
        ["source", "destination", "ports"],
        ["shop/web[Deployment]", "data/db[StatefulSet]", "TCP 5432"],
        ["shop/web[Deployment]", "0.0.0.0/0", "TCP 80,443-500,UDP 53"],
        ["0.0.0.0/0", "shop/web[Deployment]", "all connections"],
    ]
    changes = list(standard_csv.reader(csv.differences(reports.DIFFERENCES, PLAIN).splitlines()))
    assert [row[0] for row in changes] == ["change", "added", "removed", "changed"]
    assert changes[3][3:] == ["TCP 5432", "TCP 80,443-500,UDP 53"]


def test_markdown_escapes_what_markdown_would_eat() -> None:
    lines = shown("md", reports.CONNECTIONS, PLAIN).splitlines()
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
    fans = [
        Fan(one, [Target(peer, reports.ALL, "") for peer in dict.fromkeys((peers[0], other))])
        for one, other in pairwise(peers)
    ]
    report = Connections("reference", fans, {})
    text = matrix.connections(report, PLAIN)
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    parts = text.split("\n\n")
    assert len(parts) > 1
    # The first part has the column that all reach; the others have rows of their own only.
    rows = [len(part.splitlines()) for part in parts]
    assert rows[0] >= len(names) > 2 * max(rows[1:])
