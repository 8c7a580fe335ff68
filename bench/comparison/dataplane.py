"""The interface of a dataplane that takes part in a comparison."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from bench.lab import Lab
from kubeverdict import Cluster


class Updated(NamedTuple):
    """Seconds of a change: from a changed cluster in memory to what the kernel is to be given,
    and from there to being in force.

    Of a baseline only the second is its own: the first is our rendering, not the CNI's.
    """

    preparing: float
    applying: float


class Dataplane(Protocol):
    """What enforces policy on the node of a lab."""

    name: str
    title: str
    profile: str
    enforces: bool
    judges_replies: bool  # each packet alone, so that a reply needs a rule of its own

    def install(self, lab: Lab, cluster: Cluster) -> None:
        """Put the policies of ``cluster`` in force where nothing is yet."""

    def update(self, cluster: Cluster) -> Updated:
        """Put another cluster in force."""

    def remove(self) -> None:
        """Take everything away."""

    def kernel_bytes(self) -> int | None:
        """What it takes in the kernel, where the kernel tells; None: compare before and after."""
