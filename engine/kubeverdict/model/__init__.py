"""What a cluster and a policy are. Values only: no numpy, no input or output.

In: what :mod:`kubeverdict.manifests` read. Out: frozen records for :mod:`kubeverdict.compile`
and the analyses. Records are msgspec structs rather than dataclasses because a large cluster
makes a hundred thousand of them: they are created several times faster and, without cycles
inside, can be left out of garbage collection.
"""
