"""Which pod or host has each address, kept while pods come and go.

Reading the addresses of all pods takes tens of milliseconds for tens of thousands. So when some
have changed, theirs alone are read, and the numbers of those behind them move up or down.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from socket import AF_INET, AF_INET6, inet_pton
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kubeverdict.compile.compiled import CompiledPolicy, freeze
from kubeverdict.compile.sequences import ChangedPart, changed
from kubeverdict.model.addresses import Address, Family
from kubeverdict.model.cluster import Pod
from kubeverdict.model.profile import Profile

_AF: dict[Family, int] = {4: AF_INET, 6: AF_INET6}
# With a larger part of all pods that changed, reading them all is as fast.
_LARGE = 0.25

Keys = NDArray[Any]
"""Addresses as keys that sort as they do: numbers, or for IPv6 their bytes."""


class Holders(NamedTuple):
    """The addresses of one family that pods and hosts have, ascending and each once, and who has
    them (endpoint ids). ``shared`` are those that several have."""

    keys: Keys
    ends: NDArray[np.int64]
    shared: Keys


class FollowedHolders:
    """The holders of one compiled cluster after the other, as the pods of one node see them."""

    def __init__(self, family: Family) -> None:
        self._family: Family = family
        self._of: tuple[Sequence[Pod], Sequence[str], Profile] | None = None
        self._made: Holders

    def of(self, compiled: CompiledPolicy) -> Holders:
        """Where pods share an address, the first of those that run has it; a pod has it before a
        host."""
        pods, hosts, profile = compiled.pods, compiled.hosts, compiled.profile
        before, self._of = self._of, None
        if before is None or before[1] is not hosts or before[2] is not profile:
            self._made = _holders(compiled, self._family)
        elif before[0] is not pods:
            span = changed(before[0], pods)
            made = self._followed(compiled, span) if _is_small(span, compiled) else None
            self._made = made or _holders(compiled, self._family)
        self._of = (pods, hosts, profile)
        return self._made

    def _followed(self, compiled: CompiledPolicy, span: ChangedPart) -> Holders | None:
        """None where pods that changed share an address, or did."""
        known = self._made
        gone = (known.ends >= span.start) & (known.ends < span.before)
        coming = [
            (text, end)
            for end in range(span.start, span.after)
            for text in _usable(compiled, compiled.pods[end], self._family)
        ]
        keys = packed((text for text, _ in coming), self._family)
        order = np.argsort(keys, kind="stable")
        keys, ends = keys[order], np.array([end for _, end in coming], np.int64)[order]
        kept = known.keys[~gone]
        place = np.searchsorted(kept, keys)
        taken = kept[np.minimum(place, kept.size - 1)] == keys if kept.size else np.False_
        twice = keys[1:] == keys[:-1]
        shares = np.isin(known.shared, np.concatenate((known.keys[gone], keys)))
        if np.any(taken) or twice.any() or shares.any():
            return None
        same = np.count_nonzero(gone) == keys.size and np.array_equal(known.keys[gone], keys)
        moved = known.ends + span.shift * (known.ends >= span.before)
        if same and np.array_equal(moved[gone], ends) and not span.shift:
            return known  # other labels, and the same addresses
        made = Holders(
            known.keys if same and not span.shift else np.insert(kept, place, keys),
            np.insert(moved[~gone], place, ends),
            known.shared,
        )
        freeze(made)
        return made


class FollowedHostPods:
    """The pods on the network of their nodes, kept while others come and go."""

    def __init__(self) -> None:
        self._of: Sequence[Pod] = ()
        self._made: tuple[Pod, ...] = ()

    def of(self, pods: Sequence[Pod]) -> tuple[Pod, ...]:
        """The same object as before, unless one of these changed."""
        if pods is not self._of:
            span = changed(self._of, pods)
            different = (*self._of[span.start : span.before], *pods[span.start : span.after])
            if any(pod.host_network for pod in different):
                self._made = tuple(pod for pod in pods if pod.host_network)
            self._of = pods
        return self._made


def _is_small(span: ChangedPart, compiled: CompiledPolicy) -> bool:
    return span.before + span.after - 2 * span.start <= _LARGE * len(compiled.pods)


def _usable(compiled: CompiledPolicy, pod: Pod, family: Family) -> Sequence[str]:
    texts = pod.addresses if compiled.profile.dual_stack else pod.addresses[:1]
    return [text for text in texts if (":" in text) == (family == 6)]


def _holders(compiled: CompiledPolicy, family: Family) -> Holders:
    running: list[tuple[str, int]] = []
    others: list[tuple[str, int]] = []
    for end, pod in enumerate(compiled.pods):
        for text in _usable(compiled, pod, family):
            (running if pod.phase == "Running" else others).append((text, end))
    hosts = enumerate(compiled.hosts, start=compiled.first_host)
    others += [(text, end) for end, text in hosts if (":" in text) == (family == 6)]
    both = running + others
    keys = packed((text for text, _ in both), family)
    distinct, first, count = np.unique(keys, return_index=True, return_counts=True)
    ends = np.fromiter((end for _, end in both), np.int64, len(both))
    made = Holders(distinct, ends[first], distinct[count > 1])
    freeze(made)
    return made


def packed(texts: Iterable[str], family: Family) -> Keys:
    """Texts of addresses of a family as keys."""
    return _from_bytes(b"".join([inet_pton(_AF[family], text) for text in texts]), family)


def keys_of(addresses: Sequence[Address], family: Family) -> Keys:
    size = 4 if family == 4 else 16
    return _from_bytes(b"".join([one.value.to_bytes(size, "big") for one in addresses]), family)


def _from_bytes(packed: bytes, family: Family) -> Keys:
    if family == 4:
        return np.frombuffer(packed, ">u4").astype(np.uint32)
    return np.frombuffer(packed, "S16")


def values_of(keys: Keys, family: Family) -> NDArray[Any]:
    """Addresses as numbers: (n,) uint32, or (n, 2) uint64."""
    return keys if family == 4 else keys.view(">u8").astype(np.uint64).reshape(-1, 2)
