"""A cluster as text, in the layout of ``kubectl get … -o json`` and ``-o yaml``, as a stream."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, BinaryIO, Literal

import msgspec

from bench.kubernetes import objects
from kubeverdict.model.cluster import Cluster

Format = Literal["json", "yaml"]

_PRETTY_HEAD = b'{\n    "apiVersion": "v1",\n    "items": ['
_PRETTY_TAIL = (
    b'\n    ],\n    "kind": "List",\n    "metadata": {\n        "resourceVersion": ""\n    }\n}\n'
)
_COMPACT_HEAD = b'{"apiVersion":"v1","items":['
_COMPACT_TAIL = b'],"kind":"List","metadata":{"resourceVersion":""}}\n'


def write(cluster: Cluster, out: BinaryIO, form: Format = "json", *, compact: bool = False) -> None:
    """Writes ``cluster`` as one ``kind: List``, keys sorted as kubectl sorts them.

    ``compact`` leaves out the blanks and line ends of JSON (about half of it); YAML has no such
    form.
    """
    if form == "yaml":
        _write_yaml(cluster, out)
    elif compact:
        _write_json(cluster, out, _COMPACT_HEAD, _COMPACT_TAIL, compact=True)
    else:
        _write_json(cluster, out, _PRETTY_HEAD, _PRETTY_TAIL, compact=False)


def _write_json(
    cluster: Cluster, out: BinaryIO, head: bytes, tail: bytes, *, compact: bool
) -> None:
    encode = msgspec.json.Encoder(order="sorted").encode
    out.write(head)
    separator = b""
    for document in objects(cluster):
        text = encode(document)
        if not compact:
            # Formatted in C, then moved to its depth inside the list.
            text = b"\n" + msgspec.json.format(text, indent=4)
            text = text.replace(b"\n", b"\n        ")
        out.write(separator + text)
        separator = b","
    out.write(tail)


def _write_yaml(cluster: Cluster, out: BinaryIO) -> None:
    out.write(b"apiVersion: v1\nitems:\n")
    for document in objects(cluster):
        out.write("".join(_yaml_item(document, "")).encode())
    out.write(b'kind: List\nmetadata:\n  resourceVersion: ""\n')


# PyYAML would take minutes for a large dump. What is written here is simple: mappings, lists,
# strings, integers, booleans and nothing, without anchors, tags or text of several lines.


def _yaml_mapping(mapping: dict[str, Any], indent: str) -> Iterator[str]:
    for key in sorted(mapping):
        value = mapping[key]
        yield f"{indent}{_yaml_scalar(key)}:"
        if isinstance(value, dict) and value:
            yield "\n"
            yield from _yaml_mapping(value, indent + "  ")
        elif isinstance(value, list) and value:
            yield "\n"
            # kubectl does not indent a list under its key.
            for item in value:
                yield from _yaml_item(item, indent)
        else:
            yield f" {_yaml_scalar(value)}\n"


def _yaml_item(item: Any, indent: str) -> Iterator[str]:
    if isinstance(item, dict) and item:
        # The first key stands behind the dash, where the blanks of its indent would be.
        lines = _yaml_mapping(item, indent + "  ")
        yield f"{indent}- {next(lines)[len(indent) + 2 :]}"
        yield from lines
    else:
        yield f"{indent}- {_yaml_scalar(item)}\n"


# Plain only what no reader could take for anything but a string.
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_./-]*")
_WORDS = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}


def _yaml_scalar(value: Any) -> str:
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    # What is left is spelt alike in JSON and YAML: quoted strings, numbers, {} and [].
    return msgspec.json.encode(value).decode()
