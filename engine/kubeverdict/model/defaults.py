"""What manifests may leave out."""

from __future__ import annotations

# Where an object is that does not say.
DEFAULT_NAMESPACE = "default"

METADATA_NAME = "kubernetes.io/metadata.name"
"""The label that every namespace has: its name."""
