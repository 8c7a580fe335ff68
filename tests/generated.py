"""Moved to :mod:`tests.clusters.generated`."""

from tests.clusters.generated import *  # noqa: F403
