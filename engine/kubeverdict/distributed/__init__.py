"""Scenarios judged on the workers of a Dask cluster.

In: scenarios as plain data, the snapshot of a cluster, the address of a scheduler. Out: reports,
in the order in which they are done. Needs the extra ``kubeverdict[distributed]``, here and on the
workers.

Decided: a snapshot travels as a plug-in of the workers, which the scheduler hands to each once,
to those that join later too; so no worker's loss loses it. Pieces of scenarios are tasks that
change nothing, which Dask runs again elsewhere when a worker dies; each piece has a number, and
its result counts once. A bounded number of pieces is on its way at a time, so that a million
scenarios are never in memory together.

Rejected: scattering the snapshot (its copies die with their workers), and tasks of one scenario
each (the scheduler takes longer over a task than a worker over a scenario).
"""
