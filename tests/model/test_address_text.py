from __future__ import annotations

from ipaddress import ip_address, ip_network, summarize_address_range

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeverdict.model.address_text import Span, address_text, range_text, shortened
from kubeverdict.model.addresses import BITS, Family
from tests.analyses.reading import Addresses

END = {family: (1 << bits) - 1 for family, bits in BITS.items()}


def spans_of(*blocks: str, without: tuple[str, ...] = ()) -> list[Span]:
    """Blocks in order, each without those of ``without`` that are in it."""
    found: list[Span] = []
    for block in map(ip_network, blocks):
        first = int(block[0])
        for cut in map(ip_network, without):
            if block.version == cut.version and int(block[0]) <= int(cut[0]) <= int(block[-1]):
                if first < int(cut[0]):
                    found.append((first, int(cut[0]) - 1))
                first = int(cut[-1]) + 1
        if first <= int(block[-1]):
            found.append((first, int(block[-1])))
    return found


@pytest.mark.parametrize(
    ("family", "spans", "text"),
    [
        (4, spans_of("0.0.0.0/0"), "0.0.0.0/0"),
        (6, spans_of("::/0"), "::/0"),
        (4, spans_of("10.0.0.7/32"), "10.0.0.7"),
        (4, spans_of("10.0.0.0/8", "192.168.0.0/16"), "10.0.0.0/8, 192.168.0.0/16"),
        (
            4,
            spans_of("0.0.0.0/0", without=("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")),
            "0.0.0.0/0 except 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16",
        ),
        (6, spans_of("::/0", without=("fd00::/8",)), "::/0 except fd00::/8"),
        (
            4,
            spans_of("10.0.0.0/8", "192.168.0.0/16", without=("10.1.0.0/16",)),
            "10.0.0.0/8 except 10.1.0.0/16; 192.168.0.0/16",
        ),
        # An exception of an exception is a term of its own.
        (
            4,
            [
                *spans_of("0.0.0.0/0", without=("10.0.0.0/8",))[:1],
                *spans_of("10.1.0.0/16"),
                *spans_of("0.0.0.0/0", without=("10.0.0.0/8",))[1:],
            ],
            "0.0.0.0/0 except 10.0.0.0/8; 10.1.0.0/16",
        ),
        (4, [(5, 6)], "0.0.0.5, 0.0.0.6"),
        (4, [], ""),
    ],
)
def test_the_shortest_text(family: Family, spans: list[Span], text: str) -> None:
    assert address_text(family, spans) == text


def test_a_range_has_both_ends() -> None:
    assert range_text(4, 0, 2**32 - 1) == "0.0.0.0-255.255.255.255"
    assert range_text(6, 1, 1) == "::1-::1"


@st.composite
def spans(draw: st.DrawFn) -> tuple[Family, list[Span]]:
    """Spans whose edges are near each other, near powers of two, or at the ends of the space."""
    family: Family = draw(st.sampled_from((4, 6)))
    edge = st.one_of(
        st.integers(0, 70),
        st.integers(END[family] - 70, END[family]),
        st.integers(0, BITS[family] - 1).map(lambda bit: 1 << bit),
        st.integers(0, END[family]),
    )
    edges = sorted(draw(st.sets(edge, max_size=16)))
    pairs = list(zip(edges[::2], edges[1::2], strict=False))
    # Apart: neighbours would be one span.
    return family, [
        (first, last)
        for n, (first, last) in enumerate(pairs)
        if not n or pairs[n - 1][1] + 1 < first
    ]


@given(spans())
def test_the_text_means_the_spans_and_is_never_longer_than_a_plain_list(
    case: tuple[Family, list[Span]],
) -> None:
    family, listed = case
    text = address_text(family, listed)
    if not listed:
        assert text == ""
        return
    means = Addresses(text)
    for first, last in listed:
        for probe in (first - 1, first, (first + last) // 2, last, last + 1):
            if 0 <= probe <= END[family]:
                inside = any(begin <= probe <= end for begin, end in listed)
                address = ip_address(probe.to_bytes(BITS[family] // 8, "big"))
                assert (address in means) == inside, (text, address)
    plain = [
        block
        for first, last in listed
        for block in summarize_address_range(
            *(ip_address(value.to_bytes(BITS[family] // 8, "big")) for value in (first, last))
        )
    ]
    count = len(text.replace(" except ", ", ").replace("; ", ", ").split(", "))
    assert count <= len(plain)
    if " except " not in text:
        expected = ", ".join(str(block).removesuffix(f"/{BITS[family]}") for block in plain)
        assert text.replace("; ", ", ") == expected


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("0.0.0.0/0 except 10.0.0.0/8", "0.0.0.0/0 except 10.0.0.0/8"),
        ("0.0.0.0/0 except 10.0.0.0/8, 172.16.0.0/12", "0.0.0.0/0 except 2 blocks"),
        ("10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16", "10.0.0.0/8 and 2 more"),
        ("0.0.0.0/0 except 10.0.0.0/8; 10.1.0.0/16", "0.0.0.0/0 with exceptions"),
    ],
)
def test_what_is_long_is_counted(text: str, short: str) -> None:
    assert shortened(text, 30) == short
