"""A compiled cluster after an edit: followed where that can be done, else compiled anew."""

from __future__ import annotations

from kubeverdict.compile.compiled import CompiledPolicy
from kubeverdict.compile.compiler import Compilation, compilation
from kubeverdict.compile.incremental.editable import CannotEdit, Editable
from kubeverdict.model.edit import Edit, edited
from kubeverdict.model.profile import PROFILES

# What is touched by an edit that takes about as long to follow as compiling anew does: of so many
# pods and policies one, and in small clusters, where both take little, a number of them.
_ONE_OF, _FEW = 500, 20


def is_worth_following(compiled: CompiledPolicy, edit: Edit) -> bool:
    """Whether ``edit`` can be followed in less time than the changed cluster takes to compile."""
    if edit.profile:
        return False  # another network plug-in is never followed
    cluster = compiled.cluster
    changes = (
        *(edit.policies_out, edit.policies_in, edit.pods_out, edit.pods_in),
        *(edit.namespaces_out, edit.namespaces_in),
    )
    most = (len(cluster.pods) + len(cluster.policies)) // _ONE_OF
    return sum(map(len, changes)) <= max(_FEW, most)


def compiled_after(compiled: CompiledPolicy, copy: Editable | None, edit: Edit) -> CompiledPolicy:
    """The cluster after ``edit``, by what the edit touches where ``copy`` can follow it.

    ``copy`` is the editable state of ``compiled`` (None: it has none, or the edit is not worth
    following) and cannot be used after this. Raises KubeverdictError where the changed cluster
    cannot be compiled.
    """
    if copy is not None:
        try:
            return copy.apply(edit)
        except CannotEdit:
            pass
    return compiled_anew(compiled, edit).compiled


def compiled_anew(compiled: CompiledPolicy, edit: Edit) -> Compilation:
    """The cluster after ``edit``, compiled as a whole. Raises KubeverdictError where it cannot
    be."""
    profile = PROFILES[edit.profile] if edit.profile else compiled.profile
    return compilation(edited(compiled.cluster, edit), profile, static=compiled.static)
