"""Where the rules of the baselines are not those that the CNI's own program writes.

Found by comparing both for the same cluster, rule by rule, with names of chains and sets left out
(tests/cni_programs/test_rules.py); what they have in common is nearly all. Versions: Calico 3.31.0,
kube-router 2.1.0.
"""

from __future__ import annotations

DIFFERENCES: dict[str, tuple[str, ...]] = {
    "Calico": (
        "It has chains for host endpoints and blocked addresses in FORWARD, INPUT and OUTPUT: four "
        "rules for each forwarded packet, three of them jumps to empty chains. Left out.",
        "In the raw and mangle tables it clears and sets marks and checks the way back of what "
        "pods send (`rpfilter`, `fib`): seven rules for each packet of a pod. Left out, as are its "
        "rules for address translation, which see first packets only.",
        "From a pod it drops VXLAN and IPIP first: two rules for each first packet. Left out.",
        "It has a chain for the service account of each pod, behind that of the namespace, which "
        "lets through all that comes there: no packet sees it. Left out.",
        "Policies that select the same pods in the same words are a group: a rule for each instead "
        "of two. Rendered as two, which costs Calico more than it has to pay.",
        "Numbers and names of ports in one rule are one rule with a mark; ours are two. Marks have "
        "other numbers, and of a block with an except the ports come before the mark.",
    ),
    "kube-router": (
        "In INPUT it lets cluster IPs and node ports through first: three rules for each packet to "
        "the node. Left out.",
        "Its sets have a timeout of 0, which costs each member a few bytes.",
    ),
}
