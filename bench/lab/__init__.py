"""A node and its pods as network namespaces of this machine, for tests and benchmarks.

In: a layout and the pods wanted. Out: namespaces joined by veths, real enough that iptables, nft
and tc filters see what they see on a node; and ways to run things in them::

    with Lab(layout="routed") as lab:
        web = lab.add_pod("shop", "web", ipv4="10.1.0.2", ipv6="fd00:1::2")
        client = lab.add_pod("shop", "client", ipv4="10.1.0.3")
        web.serve(8080)
        assert client.reaches("10.1.0.2", 8080)

Decided:

* Everything that belongs to the node (host ends of veths, rules, filters, the node's addresses)
  lives in a namespace of its own, so nothing in the root namespace is touched.
* Names are ``kv<pid>-<number>-…``. A lab removes what it made, also after a failure, and each new
  lab removes what crashed processes left behind.
* Threads enter namespaces, not processes: a thread enters, does its work and ends. Sockets that
  it opened stay in their namespace.

Needs root, Linux network namespaces and pyroute2; :func:`missing` says what is not there.
"""

from __future__ import annotations

from bench.lab.bpffs import bpffs
from bench.lab.lab import Lab, LabPod, Layout, LinkKind, host_ifname, run_in
from bench.lab.namespaces import clean, inside, missing

__all__ = [
    "Lab",
    "LabPod",
    "Layout",
    "LinkKind",
    "bpffs",
    "clean",
    "host_ifname",
    "inside",
    "missing",
    "run_in",
]
