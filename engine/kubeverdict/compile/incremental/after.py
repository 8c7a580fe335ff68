"""A compiled cluster after an edit: followed where that can be done, else compiled anew."""

from __future__ import annotations

from kubeverdict.compile.compiled import CompiledPolicy
from kubeverdict.compile.compiler import Compilation, compilation
from kubeverdict.compile.incremental.editable import CannotEdit, Editable
from kubeverdict.model.edit import Edit, edited
from kubeverdict.model.profile import PROFILES


def compiled_after(compiled: CompiledPolicy, copy: Editable | None, edit: Edit) -> CompiledPolicy:
    """The cluster after ``edit``, by what the edit touches where ``copy`` can follow it.

    ``copy`` is the editable state of ``compiled`` (None: it has none) and cannot be used after
    this. Raises KubeverdictError where the changed cluster cannot be compiled.
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
