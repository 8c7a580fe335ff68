"""What manifests may leave out."""

from __future__ import annotations

# Where an object is that does not say.
DEFAULT_NAMESPACE = "default"
