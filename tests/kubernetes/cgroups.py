"""The control groups of a cluster's containers, removed with it.

Everything else of a cluster goes with its namespaces; control groups stay when their processes have
ended. containerd names them after its containers, of which it keeps a list.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
# Where containerd's plug-in for Kubernetes puts its groups, in each hierarchy.
_GROUPS = "k8s.io"
_CONTAINERS = "*/containerd/io.containerd.grpc.v1.cri/*/*"


def remove(folder: Path) -> None:
    """Remove the groups of the containers that the nodes in ``folder`` had; all have ended."""
    names = [path.name for path in folder.glob(_CONTAINERS)]
    for hierarchy in _hierarchies() if names else ():
        groups = hierarchy / _GROUPS
        for name in names:
            for path, _, _ in os.walk(groups / name, topdown=False):
                # Another process may remove the same ones.
                with contextlib.suppress(FileNotFoundError):
                    os.rmdir(path)
        # Fails where another containerd has containers.
        with contextlib.suppress(OSError):
            groups.rmdir()


def _hierarchies() -> list[Path]:
    """Version 2 has one hierarchy, version 1 one for each controller."""
    if (_ROOT / "cgroup.controllers").exists():
        return [_ROOT]
    return [path for path in sorted(_ROOT.glob("*")) if path.is_dir() and not path.is_symlink()]
