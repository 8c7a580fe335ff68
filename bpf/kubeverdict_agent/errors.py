"""What can go wrong on a node, in words for its operator."""

from __future__ import annotations

from kubeverdict.errors import KubeverdictError


class DatapathError(KubeverdictError):
    """The kernel, or what is missing on the node, does not let the datapath work."""


class DoesNotFit(DatapathError):
    """Compiled policies that are larger than the tables in the kernel; the old ones stay."""
