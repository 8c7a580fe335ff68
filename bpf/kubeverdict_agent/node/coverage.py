"""Which pods of the node are not covered, said in words; and which pod is behind each link, kept
for the next agent.

A pod is covered by programs on its link. One that has no link that the agent knows (it is attached
by ipvlan, macvlan or SR-IOV, or its link is in another namespace) passes unseen, which must
not look like a pod that is let through.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from kubeverdict.model.cluster import Pod
from kubeverdict.model.counts import listed
from kubeverdict_agent.node.endpoints import PodKey, Veth

_PATIENCE = 10.0  # seconds: pods are in the cluster's state before their link is there, and after
_NAMED = 5


class Coverage:
    """``record`` is the file for the next agent."""

    def __init__(self, record: Path | None) -> None:
        self._record = record
        self._kept: dict[int, PodKey] = {}
        self._expected: frozenset[PodKey] = frozenset()
        self._missing: dict[PodKey, float] = {}  # since when, by the monotonic clock
        self.words: list[str] = []
        self.alarms: dict[str, str] = {}

    def see_cluster(self, pods: Iterable[Pod]) -> None:
        """The pods of the node, which should be behind links."""
        self._expected = frozenset(
            (pod.namespace, pod.name)
            for pod in pods
            if pod.addresses and not pod.host_network and not pod.finished
        )

    def look(self, veths: Iterable[Veth]) -> None:
        """Compare them with the links that are there."""
        veths = list(veths)
        now = time.monotonic()
        there = {veth.pod for veth in veths} | {veth.moved for veth in veths}
        missing = sorted(self._expected - there)
        self._missing = {pod: self._missing.get(pod, now) for pod in missing}
        without = ["/".join(pod) for pod in missing if now - self._missing[pod] >= _PATIENCE]
        moved = [
            f"{veth.link.name} (perhaps {'/'.join(veth.moved)})"
            for veth in veths
            if veth.moved is not None
        ]
        self.words = [
            *(f"pod {pod} has no veth or netkit and is not covered" for pod in without),
            *(f"link {link} has addresses that another link had: unknown" for link in moved),
        ]
        self.alarms = {"coverage": "", "identity": ""}
        if without:
            self.alarms["coverage"] = (
                f"{len(without)} pods of this node have no veth or netkit and are not covered:"
                f" {listed(without, _NAMED)}"
            )
        if moved:
            self.alarms["identity"] = (
                "addresses moved to another link; their pods are unknown until the source is"
                f" written again: {listed(moved, _NAMED)}"
            )

    def recall(self) -> dict[int, PodKey]:
        """The pods behind endpoint numbers, as the agent before this one knew them."""
        if self._record is None:
            return {}
        try:
            return msgspec.json.decode(self._record.read_bytes(), type=dict[int, tuple[str, str]])
        except (OSError, msgspec.DecodeError):
            return {}

    def keep(self, pods: Mapping[int, PodKey]) -> None:
        """Keep which pod is behind each endpoint number."""
        if self._record is None or pods == self._kept:
            return
        self._kept = dict(pods)
        new = self._record.with_name(f"{self._record.name}.new")
        new.write_bytes(msgspec.json.encode(self._kept))
        os.replace(new, self._record)
