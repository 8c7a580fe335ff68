"""How eBPF agents look a policy up: kubeverdict's tables, identities as Cilium has them, CIDRs with
ports as the AWS agent has them.

In: a compiled cluster and a pod. Out: a program for each design, filled with the same policy, that
judges a list of tuples in turn under BPF_PROG_TEST_RUN. They exist here only, to compare designs
on one frame and not the programs around them.

Decided: the two others are filled from the tables that
:func:`kubeverdict_agent.lowering.tables.lower` makes, so that all hold the same policy: an
identity is one of its classes of peers, a CIDR one of its address intervals. Rules without peers,
which Cilium stores apart, become entries of every identity; that gives neither an advantage.
"""

from __future__ import annotations

from bench.designs.designs import DESIGNS, Designs, open_designs

__all__ = ["DESIGNS", "Designs", "open_designs"]
