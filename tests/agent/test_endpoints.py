"""Bookkeeping of links: what is published, bound and given away, in which order."""

from __future__ import annotations

import random
import time

from kubeverdict_agent.node.endpoints import Binding, NodeEndpoints, PodKey, Veth
from kubeverdict_agent.node.netlink import Link, LinkAddress

WEB, DB, API = ("shop", "web"), ("data", "db"), ("shop", "api")


def add(books: NodeEndpoints, index: int, *addresses: str) -> Veth:
    veth = books.see_link(Link(index, f"veth{index}", 2, index))
    assert veth is not None
    books.see_addresses(index, [LinkAddress(index, 2, text) for text in addresses])
    return veth


def publish(books: NodeEndpoints, known: set[PodKey], expected: tuple[PodKey, ...] = ()) -> None:
    books.published(books.assign(expected, known))


def settle(books: NodeEndpoints, veth: Veth) -> Binding | None:
    binding, change = books.settle(veth)
    if change:
        books.bound(veth, binding)
    return binding


def test_a_link_is_bound_only_when_the_tables_hold_its_pod() -> None:
    books = NodeEndpoints(4)
    books.see_cluster({"10.0.0.1": WEB})
    veth = add(books, 7, "10.0.0.1")
    assert settle(books, veth) is None and books.is_waiting(veth)
    slots = books.assign((), {WEB})
    assert settle(books, veth) is None
    books.published(slots)
    bound = settle(books, veth)
    assert bound is not None and bound.slot == slots[WEB] and not books.is_waiting(veth)
    assert books.settle(veth) == (bound, False)


def test_pods_expected_on_the_node_are_bound_at_once() -> None:
    books = NodeEndpoints(4)
    books.see_cluster({"10.0.0.1": WEB})
    publish(books, {WEB, DB}, (WEB,))
    assert settle(books, add(books, 7, "10.0.0.1")) is not None


def test_pods_behind_links_come_before_those_expected() -> None:
    books = NodeEndpoints(1)
    books.see_cluster({"10.0.0.1": WEB, "10.0.0.2": DB})
    publish(books, {WEB, DB}, (DB,))
    veth = add(books, 7, "10.0.0.1")
    publish(books, {WEB, DB}, (DB,))  # without DB: its slot is free from now on
    publish(books, {WEB, DB}, (DB,))
    assert settle(books, veth) is not None


def test_more_pods_than_slots_are_named() -> None:
    books = NodeEndpoints(1)
    books.see_cluster({"10.0.0.1": WEB, "10.0.0.2": DB})
    veths = [add(books, 7, "10.0.0.1"), add(books, 8, "10.0.0.2")]
    publish(books, {WEB, DB})
    assert len(books.unplaced) == 1
    assert sum(settle(books, veth) is not None for veth in veths) == 1
    assert not any(books.is_waiting(veth) for veth in veths)


def test_an_address_that_changes_hands_gets_a_new_endpoint_number() -> None:
    """No packet of the new pod may meet a connection of the old one."""
    books = NodeEndpoints(4)
    books.see_cluster({"10.0.0.1": WEB})
    old = add(books, 7, "10.0.0.1")
    publish(books, {WEB})
    before = settle(books, old)
    books.lose_link(7)
    new = add(books, 8, "10.0.0.1")
    assert before and settle(books, new) is None and new.moved == WEB
    # The cluster's state catches up: the address is another pod's.
    books.see_cluster({"10.0.0.1": API})
    publish(books, {API})
    caught_up = settle(books, new)
    assert caught_up and new.bound_pod == API and new.moved is None
    assert caught_up.number != before.number


def test_a_pod_behind_another_link_is_believed_once_the_state_was_written() -> None:
    books = NodeEndpoints(4)
    owners = {"10.0.0.1": WEB, "fd00::1": WEB}
    books.see_cluster(owners)
    old = add(books, 7, "10.0.0.1")
    publish(books, {WEB})
    assert settle(books, old)
    # While the first link stands for the pod, nobody else is it, whenever the state was written.
    second = add(books, 8, "fd00::1")
    books.see_cluster(owners, time.time() + 1)
    assert second.pod is None and second.moved == WEB and old.pod == WEB
    books.lose_link(7)
    books.see_cluster(owners, second.since - 1)
    assert second.pod is None, "written before the link was there"
    books.see_cluster(owners, second.since + 1)
    assert second.pod == WEB and settle(books, second)


def test_a_slot_that_is_bound_is_not_given_away() -> None:
    books = NodeEndpoints(2)
    books.see_cluster({"10.0.0.1": WEB, "10.0.0.2": DB})
    web = add(books, 7, "10.0.0.1")
    publish(books, {WEB})
    bound = settle(books, web)
    assert bound
    # The address is given to another pod, and the first one is made anew on another.
    books.see_cluster({"10.0.0.1": DB, "10.0.0.3": WEB})
    other = add(books, 8, "10.0.0.3")
    add(books, 9, "10.0.0.1")
    slots = books.assign((), {WEB, DB})
    assert slots[WEB] == bound.slot and slots[DB] != bound.slot
    books.published(slots)
    assert settle(books, web) == bound and settle(books, other) != bound


def test_a_restarted_agent_finds_slots_and_numbers() -> None:
    books = NodeEndpoints(4, bound={7: (40, 2), 8: (41, 3)}, numbers=[90])
    books.see_cluster({"10.0.0.1": WEB, "10.0.0.2": DB, "10.0.0.3": API})
    web, new = add(books, 7, "10.0.0.1"), add(books, 9, "10.0.0.3")
    assert web.binding == Binding(40, 2) and books.left_behind == [8]
    slots = books.assign((), {WEB, DB, API})
    assert slots[WEB] == 2 and slots[API] not in (2, 3)
    books.published(slots)
    assert books.settle(web) == (Binding(40, 2), False), "its connections go on"
    fresh = settle(books, new)
    assert fresh and fresh.number > 90


def test_a_restarted_agent_knows_pods_whose_addresses_are_gone() -> None:
    books = NodeEndpoints(4, bound={7: (40, 2)}, pods={40: WEB})
    veth = add(books, 7)
    books.see_cluster({"10.0.0.1": WEB})
    assert veth.pod == WEB and books.assign((), {WEB}) == {WEB: 2}
    assert books.settle(veth) == (Binding(40, 2), False)
    books.see_cluster({"10.0.0.1": DB})
    assert veth.pod is None


def test_a_pod_that_is_known_but_not_in_force_keeps_its_binding() -> None:
    books = NodeEndpoints(4, bound={7: (40, 2)})
    books.see_cluster({"10.0.0.1": WEB})
    veth = add(books, 7, "10.0.0.1")
    assert books.settle(veth) == (Binding(40, 2), False)


def test_a_link_whose_pod_nobody_knows_is_unbound() -> None:
    books = NodeEndpoints(4, bound={7: (40, 2)})
    books.see_cluster({})
    veth = add(books, 7, "10.0.0.1")
    assert books.settle(veth) == (None, True)


def test_namespaces_and_names_do_not_collide() -> None:
    """`a.b` + `c` is not `a` + `b.c`, nor is `a-b` + `c` the same as `a` + `b-c`."""
    keys = [("a.b", "c"), ("a", "b.c"), ("a-b", "c"), ("a", "b-c")]
    books = NodeEndpoints(8)
    books.see_cluster({f"10.0.0.{n}": key for n, key in enumerate(keys)})
    for index in range(4):
        add(books, index + 1, f"10.0.0.{index}")
    assert sorted(books.assign((), set(keys)).values()) == [0, 1, 2, 3]


def test_addresses_that_come_one_by_one() -> None:
    books = NodeEndpoints(4)
    books.see_cluster({"10.0.0.1": WEB, "fd00::1": WEB})
    veth = books.see_link(Link(7, "veth7", 2, 5))
    assert veth is not None and veth.pod is None
    assert books.see_address(LinkAddress(5, 3, "10.0.0.1"), True) == []  # another interface of it
    assert books.see_address(LinkAddress(5, 2, "10.0.0.1"), True) == [veth] and veth.pod == WEB
    assert books.see_address(LinkAddress(5, 2, "fd00::1"), True) == []
    assert books.see_address(LinkAddress(5, 2, "10.0.0.1"), False) == [] and veth.pod == WEB
    assert books.see_address(LinkAddress(5, 2, "fd00::1"), False) == [] and veth.pod == WEB
    books.see_cluster({"10.0.0.2": API})
    assert veth.pod is None, "the pod is gone"


def test_a_rename_changes_nothing_but_the_name() -> None:
    books = NodeEndpoints(4)
    books.see_cluster({"10.0.0.1": WEB})
    veth = add(books, 7, "10.0.0.1")
    books.see_link(Link(7, "other", 2, 7))
    assert veth.link.name == "other" and veth.pod == WEB
    assert books.see_link(Link(9, "inner", 3, None)) is None, "both ends are on the node"


def test_random_histories_never_bind_a_pod_to_a_slot_of_another() -> None:
    """The kernel's side of it: the tables that were published and the bindings that were made."""
    for seed in range(60):
        chance = random.Random(seed)
        books = NodeEndpoints(6)
        tables: dict[int, PodKey] = {}
        kernel: dict[int, Binding] = {}
        numbers: dict[int, PodKey] = {}
        owners: dict[str, PodKey] = {}
        index = 0
        for _ in range(120):
            what = chance.random()
            if what < 0.3:
                index += 1
                add(books, index, f"10.0.0.{chance.randrange(5)}")
            elif what < 0.45 and books.veths:
                gone = chance.choice(sorted(books.veths))
                books.lose_link(gone)
                kernel.pop(gone, None)
            elif what < 0.65:
                owners = {
                    f"10.0.0.{n}": ("ns", f"pod{chance.randrange(6)}")
                    for n in range(5)
                    if chance.random() < 0.8
                }
                books.see_cluster(owners)
            elif what < 0.9:
                slots = books.assign((), set(owners.values()))
                assert len(set(slots.values())) == len(slots)
                if chance.random() < 0.2:
                    continue  # they did not fit
                tables = {slot: pod for pod, slot in slots.items()}
                books.published(slots)
            for veth in books.veths.values():
                binding, change = books.settle(veth)
                if change and binding is not None:
                    assert veth.pod is not None and tables[binding.slot] == veth.pod
                    assert numbers.setdefault(binding.number, veth.pod) == veth.pod
                    kernel[veth.link.index] = binding
                elif change:
                    kernel.pop(veth.link.index)
                if change:
                    books.bound(veth, binding)
                # Whoever is bound is judged as who it is, or was when nobody knew better.
                bound = kernel.get(veth.link.index)
                assert bound == veth.binding
