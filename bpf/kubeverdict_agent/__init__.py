"""The agent of one node: the verdicts of the engine, put into the kernel to audit or enforce.

In: a cluster's manifests or a watch of its API server, compiled by :mod:`kubeverdict.compile`.
Out: contents of eBPF maps, a program attached to the interfaces of the node's pods, and events
about connections that were denied (or, in audit, would have been).

The datapath: ``datapath/`` is the eBPF C, one source for both directions and both address families,
and ``layout`` mirrors its structs; ``lowering`` turns compiled arrays into tables, ``loading``
compiles with bcc, ``maps`` and ``arena`` hold what is pinned; ``node_datapath`` is its face.

The node: ``netlink`` tells of links and addresses, ``attaching`` puts programs on links,
``endpoints`` keeps the books about which pod is behind each, ``node`` brings these together.
``source`` and ``modes`` are read by ``applying``, which publishes. ``collecting`` gathers denials,
``naming`` puts names on them, ``report`` and ``hubble`` write them. ``agent`` runs all of it;
``control`` and ``answers`` are how ``cli`` talks to it. ``detaching`` and ``checking`` need none.

Decided: the kernel gets the same compiled arrays that the command line reads. Rejected: a second
representation of policies for eBPF, because two of them would one day disagree.
"""
