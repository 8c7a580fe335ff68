"""What a node keeps in its kernel, and the names that the agent gives to it, on clusters with
tiers: the tables are looked up here as the programs look them up."""

from __future__ import annotations

from collections import Counter
from ipaddress import ip_address

import numpy as np
import pytest

from kubeverdict.compile.compiled import CompiledPolicy
from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.compile.ports import place
from kubeverdict.model.cluster import Pod
from kubeverdict_agent.datapath import layout
from kubeverdict_agent.datapath.layout import Mode
from kubeverdict_agent.lowering.rows import DecidedRules
from kubeverdict_agent.lowering.tables import Local, Tables, lower
from kubeverdict_agent.observe.naming import DecidedBy, Naming
from tests.clusters.conditions import CONDITIONS, bound, with_conditions
from tests.oracle import Reason, Way, decides_to_allow
from tests.verbs.plain import Asked, Plain, small_cluster


def peer_class(tables: Tables, text: str) -> int:
    value = int(ip_address(text))
    known = np.flatnonzero(tables.ipv4 == value)
    if known.size:
        return int(tables.class4[known[0]])
    return int(tables.starts_class4[np.searchsorted(tables.starts4, value, side="right") - 1])


def decision(tables: Tables, slot: int, asked: Asked) -> int:
    other = asked.other.addresses[0] if isinstance(asked.other, Pod) else asked.other
    subject = tables.locals["subject"][slot][asked.direction]
    row = tables.cells[asked.direction][subject, peer_class(tables, other)]
    return int(tables.rows[row, tables.ports[place(asked.protocol, asked.port)]])


def named(way: Way) -> tuple[str, tuple[str, ...]]:
    """What decides, and the policies that the agent is to name."""
    if isinstance(way.decided, Reason):
        policies = way.isolating
        return way.decided.value.lower().replace("_", "-"), tuple(f"{p.kind} {p}" for p in policies)
    policy, _ = way.decided
    return "rule", (f"{policy.kind} {policy}",)


def on_the_node(compiled: CompiledPolicy, mode: Mode) -> tuple[dict[str, int], Tables, Naming]:
    """The slot of each pod that packets can reach, as if all ran on one node; what the kernel
    reads; and the names of what it decides by."""
    held = Counter(text for pod in compiled.cluster.pods for text in set(pod.addresses))
    # Without an address there is no packet, and one that two pods have is the address of one.
    addressed = [pod for pod in compiled.pods if [held[text] for text in pod.addresses] == [1]]
    locals_ = [Local(n, p.namespace, p.name, mode) for n, p in enumerate(addressed)]
    tables = lower(compiled, "elsewhere", locals_)
    naming = Naming()
    naming.published(1, compiled, DecidedRules(tables.rules, tables.tiers, tables.conditional))
    return {str(pod): slot for slot, pod in enumerate(addressed)}, tables, naming


@pytest.mark.parametrize("seed", range(60))
def test_every_decision_and_its_name_is_the_oracles(seed: int) -> None:
    plain = Plain(small_cluster(seed))
    compiled = compile_cluster(plain.oracle.cluster)
    slots, tables, naming = on_the_node(compiled, Mode.ENFORCE)
    for asked in plain.asked():
        subject, other = asked.subject, asked.other
        assert isinstance(subject, Pod)
        if str(subject) not in slots or (isinstance(other, Pod) and str(other) not in slots):
            continue
        way, found = plain.way(asked), decision(tables, slots[str(subject)], asked)
        assert bool(found & layout.DECISION_ALLOWS) is decides_to_allow(way.decided), asked
        key = subject.namespace, subject.name
        said: DecidedBy = naming.decider(1, found, key, asked.direction)
        assert (said.reason, said.policies) == named(way), asked


@pytest.mark.parametrize("seed", range(60))
def test_what_depends_on_a_condition_is_allowed_and_marked(seed: int) -> None:
    made = with_conditions(small_cluster(seed), seed)
    most, least = (Plain(bound(made, at_least)) for at_least in (False, True))
    compiled = compile_cluster(made)
    slots, tables, naming = on_the_node(compiled, Mode.AUDIT)
    for asked in most.asked():
        subject, other = asked.subject, asked.other
        assert isinstance(subject, Pod)
        if str(subject) not in slots or (isinstance(other, Pod) and str(other) not in slots):
            continue
        found = decision(tables, slots[str(subject)], asked)
        allowed = most.lets(asked), least.lets(asked)
        assert bool(found & layout.DECISION_ALLOWS) is allowed[0], asked
        key = subject.namespace, subject.name
        said = naming.decider(1, found, key, asked.direction)
        depends = (found & layout.DECISION_RULE) >= tables.conditional
        assert depends is (allowed[0] is not allowed[1]) is (said.reason == "conditional"), asked
        if depends:
            assert said.condition in (*CONDITIONS, "a rule has a condition")
        else:
            assert (said.reason, said.policies) == named(most.way(asked)), asked


def test_without_conditions_no_decision_is_marked() -> None:
    compiled = compile_cluster(small_cluster(1))
    locals_ = [Local(n, p.namespace, p.name, Mode.AUDIT) for n, p in enumerate(compiled.pods)]
    tables = lower(compiled, "elsewhere", locals_)
    assert tables.conditional == tables.rules.size
