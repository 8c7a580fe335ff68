"""The formats that are pictures: dot and svg."""

from __future__ import annotations

from xml.etree import ElementTree

import msgspec

from kubeverdict.analyses.connections import Connections
from kubeverdict.analyses.differences import Difference
from kubeverdict.analyses.links import Fan, Target
from kubeverdict.analyses.peers import Peer, pod_peer
from kubeverdict.render import dot, svg
from kubeverdict.render.style import Style
from tests.render import reports

PLAIN = Style()
SQL = reports.SQL
SVG = "{http://www.w3.org/2000/svg}"


def test_dot_has_a_box_for_each_namespace_and_an_edge_for_each_connection() -> None:
    text = dot.connections(reports.CONNECTIONS, PLAIN)
    assert text.startswith("digraph connections {") and text.endswith("}")
    assert text.count("subgraph") == 2
    assert '    "shop/web[Deployment]" [label="web[Deployment]"]' in text
    assert '  "0.0.0.0/0" [shape=ellipse' in text
    edges = [line for line in text.splitlines() if " -> " in line]
    assert len(edges) == 3
    assert '"shop/web[Deployment]" -> "data/db[StatefulSet]" [label="TCP 5432"' in edges[0]


def test_dot_of_differences_is_coloured_by_kind() -> None:
    edges = [
        line
        for line in dot.differences(reports.DIFFERENCES, PLAIN).splitlines()
        if '" -> "' in line
    ]
    assert [dot.COLORS[kind] in line for kind, line in zip(dot.COLORS, edges, strict=True)] == [
        True,
        True,
        True,
    ]
    assert "TCP 5432 -> TCP 80,443-500,UDP 53" in edges[2]


def test_dot_quotes() -> None:
    odd = Peer('a"b\\c', "", (4, 0, ""))
    fan = Fan(odd, [Target(odd, reports.ALL, "")])
    text = dot.connections(Connections("reference", (fan,), {}), PLAIN)
    assert '"a\\"b\\\\c" -> "a\\"b\\\\c"' in text


def test_svg_is_well_formed_and_counts_in_tooltips() -> None:
    root = ElementTree.fromstring(svg.connections(reports.CONNECTIONS, PLAIN))
    tooltips = [title.text for title in root.iter(f"{SVG}title")]
    assert tooltips == [
        "shop to data: 1 connection",
        "shop to external: 1 connection",
        "external to shop: 1 connection",
    ]
    labels = [text.text for text in root.iter(f"{SVG}text")]
    # Nothing leaves the namespace data, so it has no row.
    assert labels[1:6] == ["shop", "external", "data", "shop", "external"]


def test_svg_of_nothing_and_of_very_many_namespaces() -> None:
    ElementTree.fromstring(svg.connections(Connections("reference", (), {}), PLAIN))
    peers = [Peer(f"n{n:03}/a[Pod]", f"n{n:03}", (0, 0, f"n{n:03}")) for n in range(200)]
    many = Connections(
        "reference",
        tuple(Fan(one, [Target(peers[0], reports.ALL, "")]) for one in peers),
        {},
    )
    root = ElementTree.fromstring(svg.connections(many, PLAIN))
    assert len(list(root.iter(f"{SVG}title"))) == 200
    # All rows have their names; the one column too.
    assert len(list(root.iter(f"{SVG}text"))) == 1 + 200 + 1
    assert float(root.attrib["width"]) < 500


def texts_of(root: ElementTree.Element) -> list[str]:
    return [str(text.text) for text in root.iter(f"{SVG}text")]


def tooltips_of(root: ElementTree.Element) -> list[str]:
    """Without the title of the drawing."""
    return [str(title.text) for title in root.iter(f"{SVG}title")][1:]


# As many ends as have no row each.
MANY = tuple(
    Difference(reports.WEB, pod_peer(f"data/db{number}[StatefulSet]", "data"), reports.NONE, SQL)
    for number in range(13)
)


def test_svg_of_differences_tells_kinds_apart_without_colour() -> None:
    both = msgspec.structs.replace(
        reports.DIFFERENCES, changes=(*reports.DIFFERENCES.changes, *MANY)
    )
    for report in (reports.DIFFERENCES, both):
        root = ElementTree.fromstring(svg.differences(report, PLAIN))
        hatchings = {pattern.attrib["id"]: pattern for pattern in root.iter(f"{SVG}pattern")}
        shapes = [
            tuple((part.tag, part.get("d")) for part in hatching) for hatching in hatchings.values()
        ]
        assert list(hatchings) == ["added", "removed", "changed"] and len(set(shapes)) == 3
        cells = [part for group in root.iter(f"{SVG}g") for part in group.iter(f"{SVG}rect")]
        used = [part.get("fill") for part in cells if part.get("fill") != "#ffffff"]
        assert used == ["url(#added)", "url(#removed)", "url(#changed)"]


def test_svg_of_few_differences_has_the_ends_and_their_ports() -> None:
    root = ElementTree.fromstring(svg.differences(reports.DIFFERENCES, PLAIN))
    texts = texts_of(root)
    assert texts[:4] == [
        "changed connections, from row to column",
        *("+ added: 1", "\u2212 removed: 1", "± on other ports: 1"),
    ]
    assert texts[4:] == [
        *("data", "db", "shop", "web", "0.0.0.0/0"),
        *("shop/web", "+ TCP 5432", "\u2212 all connections"),
        *("0.0.0.0/0", "± TCP 80,443-500,UDP 53"),
    ]
    assert tooltips_of(root) == [
        "shop/web[Deployment] to data/db[StatefulSet]: added, TCP 5432",
        "shop/web[Deployment] to 0.0.0.0/0: removed, all connections",
        "0.0.0.0/0 to shop/web[Deployment]: on other ports, TCP 80,443-500,UDP 53",
    ]


def test_svg_of_many_differences_counts_them_by_namespace() -> None:
    many = msgspec.structs.replace(
        reports.DIFFERENCES, changes=(*reports.DIFFERENCES.changes, *MANY)
    )
    root = ElementTree.fromstring(svg.differences(many, PLAIN))
    # Only namespaces that something changes for, and a sign in each cell.
    assert sorted(texts_of(root)[4:]) == sorted(
        [*("shop", "external"), *("data", "shop", "external"), "+14", "\u22121", "±1"]
    )
    assert tooltips_of(root) == [
        "shop to data: 14 added",
        "shop to external: 1 removed",
        "external to shop: 1 on other ports",
    ]


def test_svg_keeps_the_kinds_of_workloads_that_share_a_name() -> None:
    other = pod_peer("data/db[Deployment]", "data")
    changes = tuple(Difference(reports.WEB, one, reports.NONE, SQL) for one in (reports.DB, other))
    report = msgspec.structs.replace(reports.DIFFERENCES, changes=changes)
    texts = texts_of(ElementTree.fromstring(svg.differences(report, PLAIN)))
    assert {"db[Deployment]", "db[StatefulSet]", "shop/web"} <= {*texts}


def test_svg_of_a_change() -> None:
    root = ElementTree.fromstring(svg.whatif(reports.WHATIF, PLAIN))
    tooltip = "shop/web[Deployment] to data/db[StatefulSet]: opened, TCP 5432"
    assert tooltips_of(root) == [tooltip]
    both = msgspec.structs.replace(reports.WHATIF, closed=reports.WHATIF.opened)
    root = ElementTree.fromstring(svg.whatif(both, PLAIN))
    assert texts_of(root)[-2:] == ["+ TCP 5432", "\u2212 TCP 5432"]
    nothing = [text.text for text in ElementTree.fromstring(svg.whatif(reports.NOTHING, PLAIN))]
    assert "nothing changes" in nothing
