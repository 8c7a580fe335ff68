"""The dataplanes that kubeverdict is compared with, as rules that their tools load.

In: a compiled cluster and a node. Out: for each baseline the exact texts for iptables-restore,
ipset restore and nft -f, to build its rules, to change them as the CNI would, and to take them
away. ``python -m bench.baselines NAME --print SCENARIO`` prints them.

Decided:

* The layouts are those of the CNIs' own programs: dispatch, chains, marks, comments and sets; a
  test compares them, rule by rule. What differs is listed in :mod:`bench.baselines.differences`.
* Each baseline is judged by the profile of its CNI; a test proves that the kernel gives the
  engine's verdicts with its rules, packet by packet.
* IPv4. The address families are separate tables with the same rules in all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from bench.baselines import (
    calico_iptables,
    calico_nftables,
    conntrack,
    kube_router,
    naive,
    none,
)
from bench.baselines.loading import Rendering
from bench.baselines.node import NodeView

__all__ = ["BASELINES", "Baseline"]


@dataclass(frozen=True, slots=True)
class Baseline:
    """A dataplane: its name, the CNI profile it follows, and its renderer.

    ``enforces`` is False for those that let everything through.
    """

    name: str
    title: str
    profile: str
    render: Callable[[NodeView], Rendering]
    enforces: bool = True


BASELINES: dict[str, Baseline] = {
    baseline.name: baseline
    for baseline in (
        Baseline("none", "no policy", "flannel", none.render, enforces=False),
        Baseline("conntrack", "conntrack only", "flannel", conntrack.render, enforces=False),
        Baseline(
            "kube-router",
            "kube-router (iptables-legacy)",
            "kube-router@2.1",
            partial(kube_router.render, flavour="legacy"),
        ),
        Baseline(
            "kube-router-nft",
            "kube-router (iptables-nft)",
            "kube-router@2.1",
            partial(kube_router.render, flavour="nft"),
        ),
        Baseline("calico-iptables", "Calico (iptables)", "calico", calico_iptables.render),
        Baseline("calico-nftables", "Calico (nftables)", "calico", calico_nftables.render),
        Baseline("naive", "one iptables rule a pair", "reference", naive.render),
    )
}
