"""The same policies, the same packets, one dataplane after the other.

In: scenarios and entrants. Out: verdicts proven equal to the engine's, then figures.
:mod:`scenarios` makes the clusters, :mod:`probing` proves what a dataplane does with packets,
:mod:`entrants` puts dataplanes into labs.
"""
