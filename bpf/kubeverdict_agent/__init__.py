"""The agent of one node: the verdicts of the engine, put into the kernel to audit or enforce.

In: a cluster's manifests, compiled by :mod:`kubeverdict.compile`.
Out: contents of eBPF maps, a program attached to the interfaces of the node's pods, and events
about connections that were denied (or, in audit, would have been).

* ``datapath``: the eBPF C, one source for both directions and both address families, with
  ``layout`` mirroring its structs; ``compiling`` builds it with bcc, ``maps`` and ``arena`` hold
  what is pinned, ``node_datapath`` is the interface to all of it.
* ``lowering``: compiled arrays to the tables of one node.
* ``node``: ``netlink`` reports links and addresses, ``attaching`` puts programs on links,
  ``endpoints`` records which pod is behind each, ``node`` combines them. ``detaching`` and
  ``checking`` work without an agent.
* ``control``: ``reconciler`` reads ``source`` and ``modes``, compiles and publishes;
  ``housekeeping`` reads counters and events; ``control_socket`` and ``handlers`` answer ``cli``.
* ``observe``: ``collecting`` gathers denials, ``naming`` names them, ``report``, ``hubble`` and
  ``metrics`` write them, ``alarms`` is the log.

``agent`` starts and connects all of these.

Decided: the kernel gets the same compiled arrays that the command line reads. Rejected: a second
representation of policies for eBPF, because two of them would one day disagree.
"""
