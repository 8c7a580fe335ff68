"""Connection tracking and nothing else: what every stateful dataplane of netfilter pays."""

from __future__ import annotations

from bench.baselines.nftables import Ruleset
from bench.baselines.node import NodeView


def render(node: NodeView) -> Ruleset:
    """A table that accepts everything, established connections first."""
    hooks = {"forward": "type filter hook forward priority filter; policy accept;"}
    return Ruleset("conntrack", {"forward": ("ct state established,related accept",)}, hooks)
