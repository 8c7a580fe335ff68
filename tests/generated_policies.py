"""Moved to :mod:`tests.clusters.policies`."""

from tests.clusters.policies import *  # noqa: F403
