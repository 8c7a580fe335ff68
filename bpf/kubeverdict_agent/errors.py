"""What can go wrong on a node, in words for its operator."""

from __future__ import annotations

from kubeverdict.errors import KubeverdictError


class DatapathError(KubeverdictError):
    """The kernel, or what is missing on the node, does not let the datapath work."""


class DoesNotFit(DatapathError):
    """Compiled policies that are larger than the tables in the kernel; the old ones stay."""


class MissingPackage(DatapathError):
    """A Python package that the agent needs and ``kubeverdict`` alone does not."""

    def __init__(self, error: ImportError) -> None:
        wrong = "is not installed" if isinstance(error, ModuleNotFoundError) else "is broken"
        name = (error.name or "a Python package").partition(".")[0]
        super().__init__(f"{name} {wrong}: pip install 'kubeverdict[agent]'")
