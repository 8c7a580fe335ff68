"""Address space cut where blocks begin and end."""

from __future__ import annotations

from ipaddress import ip_address

import numpy as np

from kubeverdict.compile.addresses import atoms_of_ipv4, atoms_of_ipv6, block_sets, cut
from kubeverdict.compile.sets import members
from tests.clusters.records import block

TEN = block("10.0.0.0/8", "10.1.0.0/16")
BLOCKS = [TEN, block("0.0.0.0/0"), block("fd00::/8"), block("10.1.2.3/32")]
SPACE = cut(BLOCKS)
# The atoms, by where each begins.
STARTS = ["0.0.0.0", "10.0.0.0", "10.1.0.0", "10.1.2.3", "10.1.2.4", "10.2.0.0", "11.0.0.0"]
STARTS += ["::", "fd00::", "fe00::"]


def test_an_atom_begins_where_a_block_begins_or_ends() -> None:
    four, six = STARTS[:7], STARTS[7:]
    assert SPACE.ipv4.tolist() == [int(ip_address(text)) for text in four]
    halves = [divmod(int(ip_address(text)), 1 << 64) for text in six]
    assert list(map(tuple, SPACE.ipv6.tolist())) == halves
    assert SPACE.atoms == len(STARTS)
    assert SPACE.interval(2) == (4, int(ip_address("10.1.0.0")), int(ip_address("10.1.2.2")))
    assert SPACE.interval(9) == (6, int(ip_address("fe00::")), (1 << 128) - 1)


def test_without_blocks_each_family_is_one_atom() -> None:
    assert [cut([]).interval(atom)[0] for atom in range(cut([]).atoms)] == [4, 6]


def test_space_is_cut_further() -> None:
    more = cut([block("11.0.0.0/8")], cut_before=cut([TEN]))
    assert more.ipv4.tolist() == cut([TEN, block("11.0.0.0/8")]).ipv4.tolist()


def test_a_block_holds_its_atoms_but_for_its_excepts() -> None:
    sets = block_sets(SPACE, BLOCKS)
    found = [[STARTS[atom] for atom in members(sets, which).tolist()] for which in range(4)]
    assert found == [
        ["10.0.0.0", "10.2.0.0"],
        STARTS[:7],
        ["fd00::"],
        ["10.1.2.3"],
    ]


def test_addresses_find_their_atoms() -> None:
    four = np.array([int(ip_address(text)) for text in ("9.9.9.9", "10.1.2.3", "255.0.0.1")])
    assert [STARTS[atom] for atom in atoms_of_ipv4(SPACE, four.astype(np.uint32)).tolist()] == [
        "0.0.0.0",
        "10.1.2.3",
        "11.0.0.0",
    ]
    six = [divmod(int(ip_address(text)), 1 << 64) for text in ("fd00::1", "2001:db8::1")]
    found = atoms_of_ipv6(SPACE, np.array(six, np.uint64)).tolist()
    assert [STARTS[atom] for atom in found] == ["fd00::", "::"]
