"""kubeverdict: who can talk to whom in a cluster, which rule decides, what a change does.

The public interface is what ``__all__`` names; everything else may change. Names are imported
when they are first used, so that ``import kubeverdict`` costs nothing::

    import kubeverdict as kv

    loaded = kv.load(["cluster.json"])
    compiled = kv.compile_cluster(loaded.cluster, kv.PROFILES["calico"])
    verdicts = kv.judge(compiled, sources, destinations, protocols, ports)
    change = kv.delta(compiled, kv.compile_cluster(other))
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kubeverdict.compile.compiled import CompiledPolicy, Reason
    from kubeverdict.compile.compiler import compile_cluster
    from kubeverdict.errors import InputError, KubeverdictError, UsageError
    from kubeverdict.evaluate.delta import Delta, delta
    from kubeverdict.evaluate.ends import address_ids, pod_id
    from kubeverdict.evaluate.flows import Verdicts, judge
    from kubeverdict.evaluate.pairs import count_pairs, rows
    from kubeverdict.evaluate.scenarios.outcome import Outcome
    from kubeverdict.evaluate.scenarios.workbench import Workbench, workbench
    from kubeverdict.evaluate.scenarios.workbench import evaluate as judge_edits
    from kubeverdict.manifests import Loaded, load
    from kubeverdict.model.cluster import Cluster
    from kubeverdict.model.edit import Edit
    from kubeverdict.model.ports import Protocol
    from kubeverdict.model.profile import PROFILES, REFERENCE, Profile
    from kubeverdict.session.session import Session
    from kubeverdict.session.version import Version
    from kubeverdict.snapshots import read as read_snapshot
    from kubeverdict.snapshots import write as write_snapshot

__version__ = "0.1.0"

__all__ = [
    "PROFILES",
    "REFERENCE",
    "Cluster",
    "CompiledPolicy",
    "Delta",
    "Edit",
    "InputError",
    "KubeverdictError",
    "Loaded",
    "Outcome",
    "Profile",
    "Protocol",
    "Reason",
    "Session",
    "UsageError",
    "Verdicts",
    "Version",
    "Workbench",
    "address_ids",
    "compile_cluster",
    "count_pairs",
    "delta",
    "judge",
    "judge_edits",
    "load",
    "pod_id",
    "read_snapshot",
    "rows",
    "workbench",
    "write_snapshot",
]

_HOMES = {
    "kubeverdict.compile.compiled": ("CompiledPolicy", "Reason"),
    "kubeverdict.compile.compiler": ("compile_cluster",),
    "kubeverdict.errors": ("InputError", "KubeverdictError", "UsageError"),
    "kubeverdict.evaluate.scenarios.workbench": ("Workbench", "judge_edits", "workbench"),
    "kubeverdict.evaluate.delta": ("Delta", "delta"),
    "kubeverdict.evaluate.ends": ("address_ids", "pod_id"),
    "kubeverdict.evaluate.flows": ("Verdicts", "judge"),
    "kubeverdict.evaluate.pairs": ("count_pairs", "rows"),
    "kubeverdict.evaluate.scenarios.outcome": ("Outcome",),
    "kubeverdict.manifests": ("Loaded", "load"),
    "kubeverdict.model.cluster": ("Cluster",),
    "kubeverdict.model.edit": ("Edit",),
    "kubeverdict.model.ports": ("Protocol",),
    "kubeverdict.session.session": ("Session",),
    "kubeverdict.session.version": ("Version",),
    "kubeverdict.snapshots": ("read_snapshot", "write_snapshot"),
    "kubeverdict.model.profile": ("PROFILES", "REFERENCE", "Profile"),
}


# Where a name would say too little by itself.
_OTHER_NAMES = {
    "judge_edits": "evaluate",
    "read_snapshot": "read",
    "write_snapshot": "write",
}


def __getattr__(name: str) -> Any:
    home = next((home for home, names in _HOMES.items() if name in names), None)
    if home is None:
        raise AttributeError(f"module 'kubeverdict' has no attribute {name!r}")
    inside = _OTHER_NAMES.get(name, name)
    found = globals()[name] = getattr(import_module(home), inside)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
