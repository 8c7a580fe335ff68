"""Which format a log is in, from its first lines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from kubeverdict.errors import InputError, Problem
from kubeverdict.flowlogs import aws, calico, columns, gke, hubble, ovn
from kubeverdict.flowlogs.columns import Mapping
from kubeverdict.model.flows import FlowRecord

Parse = Callable[[bytes], FlowRecord | str]
# How many lines to try before giving up.
LOOKED_AT = 50

_KEYS: tuple[tuple[Parse, frozenset[str]], ...] = (
    (calico.parse, frozenset({"source_name_aggr", "dest_name_aggr", "reporter", "dest_type"})),
    (gke.parse, frozenset({"connection", "disposition", "jsonPayload"})),
    (aws.parse, frozenset({"Src IP", "Dest IP", "logger"})),
    (hubble.parse, frozenset({"flow", "IP", "l4", "traffic_direction", "lost_events"})),
)
_known = msgspec.json.Decoder(dict[str, Any])


def sniff(name: str, lines: Sequence[bytes], mapping: Mapping) -> Parse:
    """The format of a file that begins with these lines. Named columns take
    precedence. Raises InputError where nothing fits."""
    named = bool(mapping.columns)
    for line in lines[:LOOKED_AT]:
        text = line.strip()
        if not text:
            continue
        if text.startswith(b"{"):
            try:
                keys = _known.decode(text)
            except (msgspec.MsgspecError, ValueError, RecursionError):
                continue
            if named and mapping.fits(keys):
                return columns.json_parser(mapping)
            best = max(_KEYS, key=lambda one: len(one[1] & keys.keys()))
            if best[1] & keys.keys():
                return best[0]
            if mapping.fits(keys):
                return columns.json_parser(mapping)
        elif b"acl_log" in text:
            return ovn.parse
        elif b"SIP:" in text and b"DIP:" in text:
            return aws.parse
    heading = _heading(lines)
    if heading and mapping.fits(heading):
        missing = mapping.missing(heading)
        if missing:
            message = f"has no column {', '.join(missing)}: it has {', '.join(heading)}"
            raise InputError([Problem(name, 1, "", message)])
        return columns.csv_parser(heading, mapping)
    raise InputError([Problem(name, 0, "", _message(lines, heading))])


def _heading(lines: Sequence[bytes]) -> list[str]:
    if not lines or lines[0].lstrip().startswith((b"{", b"[")):
        return []
    try:
        return columns.csv_header(lines[0])
    except ValueError:
        return []


def _message(lines: Sequence[bytes], heading: Sequence[str]) -> str:
    known = "Hubble, Calico, the AWS agent, GKE or OVN"
    if any(line.lstrip().startswith(b"[") for line in lines[:1]):
        return "is one JSON list: write it as JSON Lines, one record a line (jq -c '.[]')"
    if len(heading) > 2:
        columns = "its first line has to name its columns, and --columns which of them is what"
        return f"is not a log of {known}; if it is CSV, {columns}: it has {', '.join(heading)}"
    return f"is not a log of {known}, and its columns have other names than ours: use --columns"
