"""One state of a cluster that changes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from kubeverdict.compile.compiled import CompiledPolicy
from kubeverdict.evaluate.scenarios.workbench import Workbench, workbench
from kubeverdict.manifests.resolving import Resolver


@dataclass(frozen=True, eq=False)
class Version:
    """The cluster as some number of kept edits left it. Does not change, so threads may share it;
    questions take ``compiled``. ``anew`` is why the last edit had it compiled anew, empty where it
    was followed."""

    number: int
    compiled: CompiledPolicy
    _workbench: Workbench | None = None
    anew: str = ""

    @cached_property
    def workbench(self) -> Workbench:
        """Made ready for many scenarios, which costs about as much as compiling it."""
        return self._workbench or workbench(self.compiled)

    @cached_property
    def resolver(self) -> Resolver:
        """Makes edits of manifests and references to objects."""
        return Resolver(self.compiled.cluster)
