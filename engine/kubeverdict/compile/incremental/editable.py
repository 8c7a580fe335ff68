"""A compiled cluster that takes edits, one after the other."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from copy import copy
from dataclasses import replace
from operator import is_

import msgspec
import numpy as np
from numpy.typing import NDArray

from kubeverdict.compile.compiled import CompiledPolicy, Reason, RuleRef, freeze
from kubeverdict.compile.compiler import Compilation
from kubeverdict.compile.dialect import adapt
from kubeverdict.compile.incremental.asking import Asking, cut_space
from kubeverdict.compile.incremental.pods import Entering, Newcomer
from kubeverdict.compile.incremental.selecting import SetNumbers
from kubeverdict.compile.incremental.state import CannotEdit, check_language, open_state, stands_for
from kubeverdict.compile.indexing import occurring
from kubeverdict.compile.lowering import lower, ranks_of
from kubeverdict.compile.overlay.overlay import where
from kubeverdict.compile.population import populate
from kubeverdict.compile.ports import ALL_ICMP, cut_ports, port_runs
from kubeverdict.compile.rules import LAST, ORDER, PEER, RULE, SUBJECT, TIER, RowMaker
from kubeverdict.compile.sequences import Chunks, ObjectList
from kubeverdict.compile.sets import chosen
from kubeverdict.compile.tiers import tier_numbers
from kubeverdict.model.addresses import Family
from kubeverdict.model.cluster import (
    CONTROLLER_LABELS,
    METADATA_NAME,
    Cluster,
    Namespace,
    Node,
    Pod,
)
from kubeverdict.model.edit import Edit, PolicyKey, edited, policy_key
from kubeverdict.model.gc_pause import collector_paused
from kubeverdict.model.policy import Action, Direction, Policy, Tier

# What an edit changes without a verdict of pods being touched.
_WITHOUT_EFFECT = (
    *("services_out", "services_in", "endpoints_out", "endpoints_in", "nodes_in"),
    *("ingresses_out", "ingresses_in", "api_server_calls_out", "api_server_calls_in"),
    *("unevaluated", "references", "all_unevaluated"),
)

# How much larger than at the start the arrays get before compiling anew is worth it: then edits
# take half as long again. Small ones grow by a number of elements that costs nothing.
_WORN, _SMALL = 1.5, 2_000

__all__ = ["CannotEdit", "Editable"]


class Editable:
    """Keeps a cluster compiled while edits are made. For one thread at a time; what
    :meth:`apply` returns may be read by all.

    Raises CannotEdit, from the start or from :meth:`apply`, where the cluster must be compiled
    anew; it is of no use after that.
    """

    def __init__(self, made: Compilation) -> None:
        with collector_paused():
            self._take_apart(made)

    def _take_apart(self, made: Compilation) -> None:
        self._state = open_state(made)
        compiled, cluster = made.compiled, made.compiled.cluster
        self._entering = Entering(self._state)
        self._policies = Chunks.of(compiled.policies)  # in force, in evaluation order
        self._order = [policy.sort_key for policy in self._policies]
        self._rule_counts = [len(policy.rules) for policy in self._policies]
        self._rules: list[RuleRef] = list(compiled.rules)
        self._tiers = tier_numbers(compiled.policies)
        self._interleaved = any(ref.rule.precedence is not None for ref in self._rules)
        self._in_force = {policy_key(policy): policy for policy in self._policies}
        self._written = ObjectList(
            cluster.policies, {policy_key(one): at for at, one in enumerate(cluster.policies)}
        )
        pods = cluster.pods
        # Mostly all pods take part: the same keys need not be there twice, which takes megabytes.
        if len(pods) == len(compiled.pods) and all(map(is_, pods, compiled.pods)):
            self._pods = ObjectList(pods, compiled.pod_ids)
        else:
            self._pods = ObjectList(pods, {_key(pod): at for at, pod in enumerate(pods)})
        self._managed = ObjectList(compiled.pods, compiled.pod_ids)
        self._spaces = {one.name: at for at, one in enumerate(cluster.namespaces)}
        self._families = _families(self._state.has)
        self._lists_made = len(self._state.lists)
        self._rules_changed = True
        self._ends_changed = False
        # Where rules are conditional, the other bound, which takes the same edits.
        self._bounds = tuple(Editable(bound) for bound in made.least)
        self._first_sizes = [plane.sizes for plane in self._state.planes]

    @property
    def compiled(self) -> CompiledPolicy:
        return self._state.compiled

    @property
    def worn(self) -> bool:
        """Whether so much is left over from earlier edits that compiling anew is worth it."""
        planes = zip(self._state.planes, self._first_sizes, strict=True)
        return any(
            now > _WORN * before + _SMALL
            for plane, sizes in planes
            for now, before in zip(plane.sizes, sizes, strict=True)
        )

    def copy(self) -> Editable:
        """Another one of the same cluster, for an edit that is not to be kept."""
        made = copy(self)
        made._state = self._state.copy()
        made._entering = Entering(made._state)
        made._order = list(self._order)
        made._rule_counts = list(self._rule_counts)
        made._rules = list(self._rules)
        made._in_force = dict(self._in_force)
        made._written = self._written.copy()
        made._pods = self._pods.copy()
        made._managed = self._managed.copy()
        made._spaces = dict(self._spaces)
        made._bounds = tuple(bound.copy() for bound in self._bounds)
        return made

    def apply(self, edit: Edit) -> CompiledPolicy:
        """The cluster after ``edit``, compiled."""
        self._check(edit)
        self._change_namespaces(edit)
        for key in edit.policies_out:
            self._remove_policy(key)
        for policy in edit.policies_in:
            self._remove_policy(policy_key(policy), replaced=True)
            self._add_policy(policy)
        coming = {_key(pod) for pod in edit.pods_in}
        for pod_key in edit.pods_out:
            if pod_key not in coming:
                self._remove_pod(pod_key)
        for pod in edit.pods_in:
            self._put_pod(pod)
        if edit.namespaces_out:
            self._remove_namespaces(edit)
        return self._made(edit)

    # --- what is not followed ---------------------------------------------------------------

    def _check(self, edit: Edit) -> None:
        cluster = self.compiled.cluster
        if edit.profile:
            raise CannotEdit("another CNI")
        known = {node.name: node for node in cluster.nodes} if edit.nodes_in else {}
        if edit.nodes_out or not all(_is_same(known.get(one.name), one) for one in edit.nodes_in):
            raise CannotEdit("nodes change")

    def _change_namespaces(self, edit: Edit) -> None:
        coming = {one.name: one for one in edit.namespaces_in}
        used: list[str | None] = [policy.namespace for policy in edit.policies_in]
        used += [pod.namespace for pod in edit.pods_in]
        used += [service.namespace for service in edit.services_in]
        for name in used:
            if name is not None and name not in self._spaces and name not in coming:
                coming[name] = _implied(name)
        spaces = list(self.compiled.cluster.namespaces)
        for name, space in coming.items():
            at = self._spaces.setdefault(name, len(spaces))
            spaces[at : at + 1] = [space]
            self._label_namespace(space)
        if coming:
            self._replace_cluster(namespaces=tuple(spaces))

    def _remove_namespaces(self, edit: Edit) -> None:
        """Of one that still has something nothing is known but its name."""
        gone = set(edit.namespaces_out) - {space.name for space in edit.namespaces_in}
        if not gone.intersection(self._spaces):
            return
        services = {(one.namespace, one.name): one for one in self.compiled.cluster.services}
        for key in edit.services_out:
            services.pop(key, None)
        services |= {(one.namespace, one.name): one for one in edit.services_in}
        used: set[str | None] = {pod.namespace for pod in self._pods.all}
        used.update(policy.namespace for policy in self._written.all)
        used.update(namespace for namespace, _ in services)
        spaces = [
            space if space.name not in gone else _implied(space.name)
            for space in self.compiled.cluster.namespaces
            if space.name not in gone or space.name in used
        ]
        for name in gone & used:
            assert name is not None
            self._label_namespace(_implied(name))
        self._spaces = {one.name: at for at, one in enumerate(spaces)}
        self._replace_cluster(namespaces=tuple(spaces))

    def _label_namespace(self, space: Namespace) -> None:
        state, name = self._state, space.name
        labels = {METADATA_NAME: name, **space.labels}
        if name not in state.namespaces:
            state.name_namespace(name, labels)
        elif state.labels_of[name] != labels:
            if self._entering.relabel(name, labels, self._managed.all):
                self._stand_all()
            self._ends_changed = self._rules_changed = True

    # --- policies ---------------------------------------------------------------------------

    def _add_policy(self, written: Policy) -> None:
        state = self._state
        self._written.put(policy_key(written), written)
        [policy] = adapt([written], self.compiled.profile, (), state.labels_of)
        if policy is None:
            raise CannotEdit("the CNI refuses a policy")
        check_language(policy)
        questions = lower([policy], self.compiled.at_least)
        if questions.conditional and not (self._bounds or self.compiled.at_least):
            raise CannotEdit("the first rule that has a condition")
        if not questions.label_keys() & CONTROLLER_LABELS <= state.distinguishing:
            raise CannotEdit("a policy asks about labels that controllers write")
        apart = not state.hosts or all(plane.apart for plane in state.planes)
        if questions.tells_nodes and not apart:
            raise CannotEdit("the first peer that distinguishes nodes from other addresses")
        at = bisect_left(self._order, policy.sort_key)
        self._policies = self._policies.inserted(at, policy)
        tier = self._tier(at, policy)
        first = sum(self._rule_counts[:at])
        if questions.blocks:
            cut_space(state, list(questions.blocks))
        numbers: list[SetNumbers] = []
        for plane in state.planes:
            base = Asking(state, plane, questions).base()
            maker = RowMaker(base, state.lists, self.compiled.profile)
            table, sets = maker.table(questions)
            first_set = plane.set_count
            plane.add_sets(chosen(sets, np.arange(2, sets.start.size - 1)))
            plane.insert_rules(first, len(policy.rules))
            table = table[table[:, RULE] >= 0]
            for column in (SUBJECT, PEER):
                number = table[:, column]
                table[:, column] = np.where(number < 2, number, number - 2 + first_set)
            table[:, TIER] = tier
            table[:, RULE] += first
            table[:, ORDER] += first
            plane.add_rows(table)
            numbers.append(SetNumbers.of(questions, base, maker.derived, first_set))
            subject = numbers[-1].subjects[questions.selectors[where(policy), policy.pods, False]]
            plane.subject = np.insert(plane.subject, at, subject)
        state.asked[1].add(questions, numbers)
        self._order.insert(at, policy.sort_key)
        self._rule_counts.insert(at, len(policy.rules))
        self._rules[first:first] = [RuleRef(policy, rule) for rule in policy.rules]
        self._interleaved |= any(rule.precedence is not None for rule in policy.rules)
        self._in_force[policy_key(policy)] = policy
        stands = stands_for(policy, self.compiled.profile)
        state.tier = np.insert(state.tier, at, tier)
        state.stands = np.insert(state.stands, at, stands)
        self._set_standing(tier, stands)
        self._rules_changed = True

    def _remove_policy(self, key: PolicyKey, replaced: bool = False) -> None:
        if key not in self._written.places:
            return
        state = self._state
        if not replaced:
            self._written.take(key)
        policy = self._in_force.pop(key, None)
        if policy is None:
            raise CannotEdit("the CNI refuses a policy")
        at = bisect_left(self._order, policy.sort_key)
        first, count = sum(self._rule_counts[:at]), self._rule_counts[at]
        tier, stands = int(state.tier[at]), int(state.stands[at])
        for plane in state.planes:
            plane.remove_rules(first, count)
            plane.subject = np.delete(plane.subject, at)
        self._policies = self._policies.removed(at)
        del self._order[at], self._rule_counts[at]
        del self._rules[first : first + count]
        state.tier = np.delete(state.tier, at)
        state.stands = np.delete(state.stands, at)
        if (state.tier == tier).any():
            self._set_standing(tier, stands)
        else:
            self._number_tiers(gone=tier)
        self._rules_changed = True

    def _tier(self, at: int, policy: Policy) -> int:
        """The number of the tier of the policy at ``at``, which is not in the state yet; others
        move where it is the first of its tier."""
        for near in (at - 1, at + 1):
            if 0 <= near < len(self._policies) and self._policies[near].tier == policy.tier:
                return int(self._state.tier[min(near, at)])
        return self._number_tiers()[policy.tier]

    def _number_tiers(self, gone: int = -1) -> dict[Tier, int]:
        """Number the tiers as they are now, when one has come, or is ``gone``."""
        state = self._state
        numbers = tier_numbers(self._policies)
        moves = {
            number: numbers[tier]
            for tier, number in self._tiers.items()
            if tier in numbers and number != gone
        }
        for plane in state.planes:
            plane.move_tiers(moves, gone)
        state.tier = np.array([moves[number] for number in state.tier.tolist()], np.int32)
        self._tiers = numbers
        return numbers

    def _set_standing(self, tier: int, stands: int) -> None:
        """Find anew what holds for all subjects of a tier, for the bits of ``stands``."""
        for direction in Direction:
            if stands & (1 << direction):
                self._set_row(tier, direction, 1 << direction, False)
            if stands & (4 << direction):
                self._set_row(tier, direction, 4 << direction, True)

    def _set_row(self, tier: int, direction: Direction, bit: int, icmp: bool) -> None:
        state = self._state
        who = np.flatnonzero((state.tier == tier) & (state.stands & bit != 0))
        ports = state.lists.setdefault(ALL_ICMP, len(state.lists)) if icmp else 0
        order, action, reason = (
            (-1, Action.ALLOW, Reason.ALWAYS_ICMP)
            if icmp
            else (LAST, Action.DENY, Reason.NO_RULE_MATCHES)
        )
        for plane in state.planes:
            subjects = occurring(plane.subject[who])
            plane.set_standing(direction, tier, order, ports, action, reason, subjects)

    def _stand_all(self) -> None:
        state = self._state
        for tier in occurring(state.tier).tolist():
            of_tier = state.stands[state.tier == tier]
            self._set_standing(tier, int(np.bitwise_or.reduce(of_tier)))

    # --- pods -------------------------------------------------------------------------------

    def _put_pod(self, pod: Pod) -> None:
        key = _key(pod)
        compiled = self.compiled
        alone = populate(Cluster(pods=(pod,)), compiled.profile, compiled.static)
        if key in self._pods.places and not (key in self._managed.places and alone.pods):
            self._remove_pod(key)
        self._pods.put(key, pod)
        if not alone.pods:
            self._refuse_hosts(alone.excluded[0][0])
            excluded = (*self.compiled.excluded, alone.excluded[0])
            self._state.compiled = replace(self.compiled, excluded=excluded)
            return
        state = self._state
        if _families({4: alone.has_ipv4, 6: alone.has_ipv6}) - self._families:
            raise CannotEdit("a pod has an address of another family than others")
        newcomer = Newcomer(pod, alone, state.labels(pod), state.ports(pod))
        if key in self._managed.places:
            changed = self._entering.replace(self._managed.places[key], newcomer)
        else:
            changed = self._entering.append(newcomer)
        self._managed.put(key, pod)
        self._ends_differ(changed)

    def _remove_pod(self, key: tuple[str, str]) -> None:
        if key not in self._pods.places:
            return
        self._pods.take(key)
        if key not in self._managed.places:
            for gone, _ in self.compiled.excluded:
                if _key(gone) == key:
                    self._refuse_hosts(gone)
            excluded = tuple(each for each in self.compiled.excluded if _key(each[0]) != key)
            self._state.compiled = replace(self.compiled, excluded=excluded)
            return
        changed = self._entering.remove(self._managed.places[key])
        self._managed.take(key)
        self._ends_differ(changed)

    def _ends_differ(self, rules_too: bool) -> None:
        self._ends_changed = True
        if rules_too:
            self._stand_all()
            self._rules_changed = True

    def _refuse_hosts(self, pod: Pod) -> None:
        """A pod on the network of its node may bring or take an address of the node."""
        profile = self.compiled.profile
        on_host = pod.host_network and not profile.hostnetwork_subjects
        if on_host and not (pod.finished and profile.finished_pods_ignored):
            of_nodes = {text for node in self.compiled.cluster.nodes for text in node.addresses}
            if profile.hostnetwork_peers != "never" or not of_nodes.issuperset(pod.addresses):
                raise CannotEdit("a pod on the network of its node")

    # --- the result -------------------------------------------------------------------------

    def _replace_cluster(self, **fields: object) -> None:
        cluster = msgspec.structs.replace(self.compiled.cluster, **fields)
        self._state.compiled = replace(self.compiled, cluster=cluster)

    def _made(self, edit: Edit) -> CompiledPolicy:
        state = self._state
        cluster = self.compiled.cluster
        rest = {name: getattr(edit, name) for name in _WITHOUT_EFFECT}
        if edit.all_unevaluated is not None or any(rest.values()):
            # Without what is kept here: it need not be walked.
            cluster = msgspec.structs.replace(cluster, pods=(), policies=())
            cluster = edited(cluster, Edit("", **rest))
        cluster = msgspec.structs.replace(cluster, pods=self._pods.all, policies=self._written.all)
        state.compiled = replace(self.compiled, cluster=cluster)
        if len(state.lists) != self._lists_made:
            self._lists_made = len(state.lists)
            runs = port_runs(state.lists, self.compiled.port_runs)
            ports = cut_ports(state.lists, runs)
            freeze((ports, runs))
            state.compiled = replace(self.compiled, ports=ports, port_runs=runs)
        if self._rules_changed:
            if self._interleaved:
                ranks = np.array(ranks_of(self._rules), np.int64)
                for plane in state.planes:
                    plane.order(ranks)
            state.compiled = replace(
                self.compiled,
                policies=self._policies,
                rules=tuple(self._rules),
                planes=tuple(plane.made(self.compiled.ports) for plane in state.planes),
            )
        elif self._ends_changed:
            planes = zip(self.compiled.planes, state.planes, strict=True)
            state.compiled = replace(
                self.compiled, planes=tuple(now.with_ends(made) for made, now in planes)
            )
        if self._ends_changed:
            pods, places = self._managed.all, self._managed.places
            state.compiled = replace(self.compiled, pods=pods, pod_ids=places)
        self._rules_changed = self._ends_changed = False
        if self._bounds:
            least = tuple(bound.apply(edit) for bound in self._bounds)
            state.compiled = replace(self.compiled, least=least)
        return self.compiled


def _implied(name: str) -> Namespace:
    return Namespace(name, {METADATA_NAME: name}, implied=True)


def _key(pod: Pod) -> tuple[str, str]:
    return pod.namespace, pod.name


def _is_same(known: Node | None, node: Node) -> bool:
    return known is not None and (known.addresses, known.labels) == (node.addresses, node.labels)


def _families(has: Mapping[Family, NDArray[np.bool_]]) -> set[int]:
    """What families pods have: 0 is none, which stands for any, 1 IPv4, 2 IPv6, 3 both."""
    codes = has[4] + 2 * has[6].astype(np.int64)
    return set(np.flatnonzero(np.bincount(codes)).tolist())
