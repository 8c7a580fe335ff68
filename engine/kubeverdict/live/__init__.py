"""A cluster behind its API server: how to reach it, and what it holds.

In: a kubeconfig, or the service account of a pod. Out: a
:class:`~kubeverdict.manifests.Loaded`, as if ``kubectl get`` had written everything to a file.

Decided: only reads, and only kinds on which a verdict may depend. Lists come in pages of raw JSON
that the readers of manifests take apart, so a live cluster and its dump mean the same. What may not
be read is named as not evaluated; without pods or namespaces there is no answer.

Rejected: the client libraries for Python. They take ten times as long and as much memory for a list
of pods, and none has all the ways to authenticate that a kubeconfig may name.
"""

from __future__ import annotations

from kubeverdict.live.kubeconfig import Access, Impersonation, find_access
from kubeverdict.live.listing import load

__all__ = ["Access", "Impersonation", "find_access", "load"]
