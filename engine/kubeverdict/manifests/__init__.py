"""Kubernetes manifests to a model cluster.

In: files, folders and standard input with YAML or JSON: single objects, several documents,
lists, ``kubectl get`` dumps. Out: :class:`Loaded`, a :class:`~kubeverdict.model.cluster.Cluster`
with all that a user should know about how it was read; :func:`apply` and :func:`delete` make the
cluster that a change would leave.

Decided: documents are read as the API server would read them, defaults included, and nothing
that could change a verdict is dropped without a word: a misspelt field in a policy is a warning,
an invalid document an error with its line, and errors of all documents come together. Policies
are read strictly; of other objects only what a verdict depends on is looked at, from raw slices
of the input, so that a dump of fifty thousand pods takes about a second.

Rejected: the official client's models and pydantic (ten to a hundred times slower), a schema of
every kind (the API server's work), and letting a later definition of an object win over an
earlier one (files have no order that a user sees).
"""

from __future__ import annotations

from kubeverdict.manifests.loading import Loaded, load
from kubeverdict.manifests.resolving import apply, delete

__all__ = ["Loaded", "apply", "delete", "load"]
