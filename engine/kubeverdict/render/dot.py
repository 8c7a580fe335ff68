"""Graphviz: a node for each peer, an edge for each connection, a box for each namespace."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from kubeverdict.render.style import Style

if TYPE_CHECKING:
    from kubeverdict.analyses.connections import Connections
    from kubeverdict.analyses.differences import Difference, Differences
    from kubeverdict.analyses.peers import Peer

COLORS = {"added": "#1a7f37", "removed": "#cf222e", "changed": "#9a6700"}


def connections(report: Connections, style: Style) -> str:
    edges = [
        _edge(one.source, one.destination, _label(str(one.ports), one.family), "#57606a")
        for one in report.connections
    ]
    return _graph(
        (peer for one in report.connections for peer in (one.source, one.destination)), edges
    )


def differences(report: Differences, style: Style) -> str:
    edges = [
        _edge(change.source, change.destination, _change_label(change), COLORS[change.kind])
        for change in report.changes
    ]
    return _graph((peer for one in report.changes for peer in (one.source, one.destination)), edges)


def _graph(peers: Iterable[Peer], edges: list[str]) -> str:
    namespaces: dict[str, list[Peer]] = {}
    for peer in sorted(set(peers), key=lambda peer: peer.order):
        namespaces.setdefault(peer.namespace, []).append(peer)
    lines = [
        "digraph connections {",
        "  rankdir=LR",
        '  graph [fontname="sans-serif"]',
        '  node [shape=box, style="rounded,filled", fillcolor="#f6f8fa", fontname="sans-serif"]',
        '  edge [fontname="sans-serif", fontsize=10]',
    ]
    for number, (namespace, members) in enumerate(namespaces.items()):
        if namespace:
            lines.append(f"  subgraph cluster_{number} {{")
            lines.append(f"    label={_quoted(namespace)}")
            for peer in members:
                short = _quoted(peer.name.removeprefix(f"{namespace}/"))
                lines.append(f"    {_quoted(peer.name)} [label={short}]")
            lines.append("  }")
        else:
            lines += [
                f'  {_quoted(peer.name)} [shape=ellipse, fillcolor="#ffffff"]' for peer in members
            ]
    return "\n".join([*lines, *edges, "}"])


def _edge(source: Peer, destination: Peer, label: str, color: str) -> str:
    return (
        f"  {_quoted(source.name)} -> {_quoted(destination.name)} "
        f'[label={_quoted(label)}, color="{color}", fontcolor="{color}"]'
    )


def _change_label(change: Difference) -> str:
    if change.kind == "changed":
        return _label(f"{change.before} -> {change.after}", change.family)
    return _label(str(change.before or change.after), change.family)


def _label(text: str, family: str) -> str:
    return f"{text} ({family})" if family else text


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
