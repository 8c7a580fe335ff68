"""A cluster that takes changes and answers questions."""

from __future__ import annotations

from kubeverdict.compile.compiled import CompiledPolicy
from kubeverdict.compile.compiler import Compilation, compilation
from kubeverdict.compile.incremental.keeping import Keeper, Kept
from kubeverdict.evaluate.scenarios.workbench import Workbench
from kubeverdict.model.cluster import Cluster
from kubeverdict.model.edit import Edit
from kubeverdict.model.profile import REFERENCE, Profile
from kubeverdict.session.version import Version


class Session:
    """Holds a compiled cluster and takes edits: to keep, or to judge and forget.

    What edits cost, and what is done in the background, is said of :class:`Keeper`. Threads may
    share a session. A question reads one :class:`Version`, whole, and never waits; edits that are
    kept wait for each other.
    """

    def __init__(self, start: Version, made: Compilation | None = None) -> None:
        """``made`` is what ``start`` was compiled to, where that is at hand."""
        self._keeper = Keeper(Kept(start.number, start.compiled), made)
        self._version = start

    @classmethod
    def of(cls, cluster: Cluster, profile: Profile = REFERENCE, *, static: bool = False) -> Session:
        """Compile ``cluster``, see :func:`kubeverdict.compile.compiler.compile_cluster`."""
        made = compilation(cluster, profile, static=static)
        return cls(Version(0, made.compiled), made)

    @classmethod
    def resumed(cls, compiled: CompiledPolicy, workbench: Workbench | None = None) -> Session:
        """From a cluster that was compiled before, and made ready for scenarios, perhaps."""
        return cls(Version(0, compiled, workbench))

    @property
    def now(self) -> Version:
        """The cluster after all edits that were kept."""
        return self._of(self._keeper.now)

    def keep(self, edit: Edit) -> Version:
        """The cluster after ``edit``, which later edits build on.

        What it takes out and the cluster has not is passed over. Raises KubeverdictError where
        the cluster cannot be compiled; it is then as it was.
        """
        return self._of(self._keeper.keep(edit))

    def judge(self, edit: Edit) -> Version:
        """The cluster after ``edit``, which is then forgotten. Raises as :meth:`keep`."""
        kept = self._keeper.after(edit)
        return Version(kept.number, kept.compiled)

    def _of(self, kept: Kept) -> Version:
        """The same version for the same cluster: it remembers what was asked about it."""
        version = self._version
        if version.number != kept.number or version.compiled is not kept.compiled:
            version = self._version = Version(kept.number, kept.compiled, anew=kept.anew)
        return version

    def settle(self) -> None:
        """Wait for what is done in the background."""
        self._keeper.settle()
