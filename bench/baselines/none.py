"""No policy at all: what everything else is compared with."""

from __future__ import annotations

from bench.baselines.nftables import Ruleset
from bench.baselines.node import NodeView


def render(node: NodeView) -> Ruleset:
    """An empty table."""
    return Ruleset("none", {}, {})
