"""The agent of one node: the verdicts of the engine, put into the kernel to audit or enforce.

In: a cluster's manifests or a watch of its API server, compiled by :mod:`kubeverdict.compile`.
Out: contents of eBPF maps, a program attached to the interfaces of the node's pods, and events
about connections that were denied (or, in audit, would have been).

Nothing is here yet but this face. What will be: the eBPF C in ``datapath/``, one source for both
directions and both address families; the C structs mirrored in Python; the lowering from the
compiled arrays to map contents, pure; maps, loading, attaching and events; and the agent's loop.

Decided: the kernel gets the same compiled arrays that the command line reads. Rejected: a second
representation of policies for eBPF, because two of them would one day disagree.
"""
