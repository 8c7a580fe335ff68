"""What a rule does and why nothing else was needed, as the numbers that kernels see.

They are those of :class:`~kubeverdict.model.policy.Action` and
:class:`~kubeverdict.compile.compiled.Reason`, which kernels do not import.
"""

from __future__ import annotations

ALLOW, DENY, PASS = range(3)
# Allowed by this layer, in packed entries of a cluster that has several.
NEXT = 3
# The lower bits of the number of a tier count the tiers of its layer, the others the layers.
LAYER_BITS = 8
LAYER = 255

NOT_ISOLATED = -1
NO_RULE_MATCHES = -2
SELF = -3
OWN_NODE = -4
NO_ADDRESS = -5
