"""Settings for the whole suite."""

from __future__ import annotations

from hypothesis import settings

# The first example may compile kernels, and machines are shared: no deadlines.
settings.register_profile("kubeverdict", deadline=None)
settings.load_profile("kubeverdict")
