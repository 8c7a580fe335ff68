"""What the kernel and the agent share: the numbers and structs of ``datapath/layout.h``, mirrored.

:func:`assertions` is C that holds the compiler to this mirror; every compilation includes it.
Ports are in host order, addresses in network order, IPv4 as ``::ffff:a.b.c.d``.
"""

from __future__ import annotations

from enum import IntEnum
from hashlib import sha256

import numpy as np

SLOTS = 1024
PAGE_BYTES = 4096
HALF_BYTES = 8 << 20
ARENA_BYTES = 2 * PAGE_BYTES + 2 * HALF_BYTES
BUCKET = 4
NO_CLASS = 0xFFFFFFFF
INTERFACES = 16384
WAYS = 4
RECENT_BITS = 11
UNKNOWN_CLOSED = 1
STATELESS = 2
ALLOW_ENCAPSULATION = 4
DECISION_ALLOWS = 0x8000
DECISION_RULE = 0x7FFF
NO_DECISION = DECISION_RULE
PEER_CLASS = 0xFFFF
PEER_OWN = 0x10000
PEER_NODE = 0x20000
PEER_GUARDED = 0x40000


class PodDirection(IntEnum):
    """As the local pod sees it."""

    INGRESS = 0
    EGRESS = 1


class Mode(IntEnum):
    """What is done with a packet that policy denies: it is not even judged (off), it is counted
    (audit), it is dropped (enforce)."""

    OFF = 0
    AUDIT = 1
    ENFORCE = 2


class PacketReason(IntEnum):
    """Why a packet went through, or (from DENIED on) did not or would not have."""

    FLOW = 0
    POLICY = 1
    RELATED = 2
    NEIGHBOUR = 3
    FRAGMENT = 4
    UNKNOWN = 5
    CONDITIONAL = 6
    DENIED = 7
    REVOKED = 8
    NO_FLOW = 9
    MASQUERADED = 10
    ENCAPSULATED = 11
    BAD_FRAGMENT = 12
    MALFORMED = 13
    UNSUPPORTED = 14
    SPOOFED = 15
    FLOODED = 16


class State(IntEnum):
    """Bits of ``flow.state``."""

    REPLIED = 1
    ADOPTED = 2
    FIN = 4
    REPLY_FIN = 8
    CLOSING = 16
    RESET = 32
    OWN_NODE = 64


NO_REPLY_TICKS = 60
CLOSING_TICKS = 30

COUNTERS = 2 * 2 * len(PacketReason)  # [direction][dropped][reason]
LOST_EVENTS = COUNTERS
LOST_TOTALS = COUNTERS + 1
COUNTS = COUNTERS + 2

_ADDRESS = ("<u4", (4,))

CONTROL = np.dtype(
    [
        ("generation", "<u8"),
        ("flags", "<u4"),
        ("tick", "<u4"),
        ("layout", "<u4"),
        ("tcp_idle", "<u4"),
        ("other_idle", "<u4"),
        ("share", "<u4"),
    ]
)
LOCAL = np.dtype(
    [
        ("subject", "<u2", (2,)),
        ("mode", "u1"),
        ("present", "u1"),
        ("pad", "<u2"),
        ("ipv4", "<u4"),
        ("ipv6", *_ADDRESS),
    ]
)
_OFFSETS = """
    generation used locals ports atom_icmp atom_other any peers4 shift4 peers6 shift6 index4 starts4
    classes4 starts6 classes6 intervals6 cells peers rows atoms conditional own_node
    guarded
"""
TABLES = np.dtype(
    [(name, "<u4", (2,) if name == "cells" else ()) for name in _OFFSETS.split()],
)
PEER6 = np.dtype([("high", "<u8"), ("low", "<u8"), ("class", "<u8")])
START6 = np.dtype([("high", "<u8"), ("low", "<u8")])
ENDPOINT = np.dtype([("ifindex", "<u4"), ("number", "<u4"), ("slot", "<u4"), ("pad", "<u4")])
ENDPOINTS = np.dtype([("way", ENDPOINT, (WAYS,))])
FLOW4 = np.dtype(
    [
        ("local", "<u4"),
        ("remote", "<u4"),
        ("local_port", "<u2"),
        ("remote_port", "<u2"),
        ("owner", "<u4"),
    ]
)
FLOW6 = np.dtype(
    [
        ("local", *_ADDRESS),
        ("remote", *_ADDRESS),
        ("local_port", "<u2"),
        ("remote_port", "<u2"),
        ("owner", "<u4"),
    ]
)
FLOW = np.dtype(
    [
        ("generation", "<u4"),
        ("seen", "<u4"),
        ("packets", "<u8"),
        ("bytes", "<u8"),
        ("since", "<u4"),
        ("decision", "<u2"),
        ("origin", "u1"),
        ("state", "u1"),
    ]
)
SHARE = np.dtype([("held", "<u4"), ("crowded", "<u4")])
RECENT = np.dtype(
    [
        ("key", FLOW6),
        ("bytes", "<u8"),
        ("packets", "<u4"),
        ("generation", "<u4"),
        ("tick", "<u4"),
        ("directions", "u1"),
        ("origin", "u1"),
        ("state", "u1"),
        ("pad", "u1"),
    ]
)
DATAGRAM = np.dtype(
    [("source", *_ADDRESS), ("destination", *_ADDRESS), ("id", "<u4"), ("owner", "<u4")]
)
DATAGRAM_VERDICT = np.dtype([("tick", "<u4"), ("passed", "<u4")])
TOTAL_KEY = np.dtype(
    [
        ("remote", *_ADDRESS),
        ("endpoint", "<u4"),
        ("port", "<u2"),
        ("decision", "<u2"),
        ("protocol", "u1"),
        ("direction", "u1"),
        ("mode", "u1"),
        ("reason", "u1"),
        ("family", "<u4"),
    ]
)
TOTAL = np.dtype(
    [
        ("packets", "<u8"),
        ("bytes", "<u8"),
        ("first_ns", "<u8"),
        ("last_ns", "<u8"),
        ("generation", "<u4"),
        ("reported", "<u4"),
    ]
)
EVENT = np.dtype(
    [
        ("time_ns", "<u8"),
        ("endpoint", "<u4"),
        ("generation", "<u4"),
        ("local", *_ADDRESS),
        ("remote", *_ADDRESS),
        ("local_port", "<u2"),
        ("remote_port", "<u2"),
        ("decision", "<u2"),
        ("length", "<u2"),
        ("protocol", "u1"),
        ("direction", "u1"),
        ("mode", "u1"),
        ("reason", "u1"),
        ("tcp_flags", "u1"),
        ("family", "u1"),
        ("pad", "<u2"),
    ]
)
COUNT = np.dtype([("packets", "<u8"), ("bytes", "<u8")])

STRUCTS = {
    "control": CONTROL,
    "local": LOCAL,
    "tables": TABLES,
    "peer6": PEER6,
    "start6": START6,
    "endpoint": ENDPOINT,
    "endpoints": ENDPOINTS,
    "flow4": FLOW4,
    "flow6": FLOW6,
    "flow": FLOW,
    "share": SHARE,
    "recent": RECENT,
    "datagram": DATAGRAM,
    "datagram_verdict": DATAGRAM_VERDICT,
    "total_key": TOTAL_KEY,
    "total": TOTAL,
    "event": EVENT,
    "count": COUNT,
}
_NUMBERS = {
    "SLOTS": SLOTS,
    "PAGE_BYTES": PAGE_BYTES,
    "HALF_BYTES": HALF_BYTES,
    "ARENA_BYTES": ARENA_BYTES,
    "BUCKET": BUCKET,
    "NO_CLASS": NO_CLASS,
    "INTERFACES": INTERFACES,
    "WAYS": WAYS,
    "RECENT_BITS": RECENT_BITS,
    "NO_REPLY_TICKS": NO_REPLY_TICKS,
    "CLOSING_TICKS": CLOSING_TICKS,
    "UNKNOWN_CLOSED": UNKNOWN_CLOSED,
    "STATELESS": STATELESS,
    "ALLOW_ENCAPSULATION": ALLOW_ENCAPSULATION,
    "NO_DECISION": NO_DECISION,
    "PEER_CLASS": PEER_CLASS,
    "PEER_OWN": PEER_OWN,
    "PEER_NODE": PEER_NODE,
    "PEER_GUARDED": PEER_GUARDED,
    "DECISION_ALLOWS": DECISION_ALLOWS,
    "DECISION_RULE": DECISION_RULE,
    "REASONS": len(PacketReason),
    "COUNTS": COUNTS,
    "LOST_EVENTS": LOST_EVENTS,
    "LOST_TOTALS": LOST_TOTALS,
    **{direction.name: int(direction) for direction in PodDirection},
    **{f"MODE_{mode.name}": int(mode) for mode in Mode},
    **{f"REASON_{reason.name}": int(reason) for reason in PacketReason},
    **{f"FLOW_{state.name}": int(state) for state in State},
}


def assertions() -> str:
    """C that does not compile unless this module and the headers agree."""
    lines = [f'_Static_assert({name} == {value}u, "{name}");' for name, value in _NUMBERS.items()]
    for name, dtype in STRUCTS.items():
        lines.append(f'_Static_assert(sizeof(struct {name}) == {dtype.itemsize}, "{name}");')
        for field, (_, offset, *_) in (dtype.fields or {}).items():
            where = f"__builtin_offsetof(struct {name}, {field})"
            lines.append(f'_Static_assert({where} == {offset}, "{name}.{field}");')
    return "\n".join(lines) + "\n"


def fingerprint() -> int:
    """32 bits that differ when the layout does: maps of another layout are not adopted."""
    return int(sha256(assertions().encode()).hexdigest()[:8], 16)
