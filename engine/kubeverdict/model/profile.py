"""How CNIs differ, as data.

One frozen record holds every difference that changes a verdict (and two that change what a user
sees). Nothing else in the code asks which CNI it is. ``unverified`` names the knobs that hold
the reference value because no primary source was found for that CNI.
"""

from __future__ import annotations

from typing import Literal

import msgspec


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """The defaults are the reference profile: the API's text where it is definite, otherwise
    what most implementations do."""

    name: str
    title: str
    # False: policies are stored by the API server and nothing acts on them.
    enforces: bool = True
    # The policy APIs that it implements, as ``Policy.kind`` calls them; None: all.
    policy_apis: tuple[str, ...] | None = None
    # Rules of a direction that policyTypes leaves out: by the API they count for nothing.
    # "applied": they count, and the policy isolates in that direction too.
    unlisted_rules: Literal["ignored", "applied"] = "ignored"
    # Which labels of pods a selector sees. "identity": not those that the CNI leaves out of what
    # distinguishes pods: labels of Kubernetes itself, and those that controllers write.
    pod_labels: Literal["all", "identity"] = "all"
    # Does an ipBlock match the addresses of pods, and those of nodes?
    ipblock_matches_pods: bool = True
    ipblock_matches_nodes: bool = True
    # "rule": the blocks of one rule share one set and the longest prefix wins, of equal ones the
    # last, so an except may cancel a sibling block that contains it.
    except_scope: Literal["element", "rule"] = "element"
    # Are hostNetwork pods subjects and selector peers like other pods?
    hostnetwork_subjects: bool = False
    # As peers by the address of their node: "with-pod-selector" when a podSelector was written.
    hostnetwork_peers: Literal["never", "with-pod-selector", "always"] = "never"
    # Is traffic between a pod and its own node allowed whatever the policies say?
    own_node_to_pod: bool = True
    # ... but not what a rule denies by name; what isolates does not count.
    own_node_deniable: bool = False
    pod_to_own_node: bool = False
    # "any-port": the name is lost and the rule covers the protocol. "reject-policy": the whole
    # policy is refused.
    named_ports: Literal["resolve", "any-port", "reject-policy"] = "resolve"
    # Whose container ports have names: containers, also sidecars (init containers that restart),
    # or all init containers.
    named_port_containers: Literal["containers", "sidecars", "all-init"] = "sidecars"
    # A name that several ports of a pod have, whatever their protocols: all of them have it, or
    # the last one alone.
    named_port_repeated: Literal["each", "last"] = "each"
    # True: an ingress rule takes the numbers of all pods that the policy selects, for each.
    named_port_union: bool = False
    # Can an egress rule with a named port reach a pod through an ipBlock peer?
    named_port_through_ipblock: bool = True
    # ... and through an empty `to`? "own-namespace": the numbers of the policy's namespace, for
    # any destination.
    named_port_to_anyone: Literal["per-pod", "never", "own-namespace"] = "per-pod"
    # A rule all of whose ports are names that no pod has: it allows nothing, or ("any-port") its
    # peers that are pods everything.
    named_port_unknown: Literal["nothing", "any-port"] = "nothing"
    # The rules of a policy of both types: each for its own direction, or ("merged") between two
    # pods that the policy selects for either.
    both_directions: Literal["apart", "merged"] = "apart"
    # Of AdminNetworkPolicy. False: a rule with the peer ``nodes`` cannot be converted, and allows
    # nothing or denies everything.
    admin_nodes: bool = True
    # ... "any-port": a rule with a named port is one for every port of every protocol.
    admin_named_ports: Literal["resolve", "any-port"] = "resolve"
    # Of ClusterNetworkPolicy. A rule with the peer ``nodes`` is read, or fails closed as those do,
    # or the whole policy is refused.
    cluster_nodes: Literal["read", "fails-closed", "refuse-policy"] = "read"
    # ... policies of one priority: one after the other by name, or ("by-index") the first rule of
    # each, then the second, of which Deny comes before Allow and Allow before Pass.
    cluster_ties: Literal["by-name", "by-index"] = "by-name"
    # ... whether isolation by NetworkPolicy decides before the baseline tier is asked, or after it.
    cluster_baseline: Literal["after-isolation", "before-isolation"] = "after-isolation"
    # ... ``namespaces`` as a peer with a selector that only excludes: the pods of those that are
    # left, or everybody.
    cluster_exclusions: Literal["pods", "everybody"] = "pods"
    # False: only the first port of a range.
    end_port: bool = True
    # "always": ICMP is allowed whatever the policies say.
    icmp: Literal["rules", "always"] = "rules"
    # What egress to a Service is judged on: its backend, or its cluster IP.
    service_egress: Literal["backend", "cluster-ip"] = "backend"
    # A pod that reaches itself through a Service.
    hairpin: Literal["judged", "allowed", "ingress-allowed"] = "judged"
    # Are Succeeded and Failed pods out of the picture?
    finished_pods_ignored: bool = True
    # False: only the primary address of a pod is known to the policy engine.
    dual_stack: bool = True
    # What a denied client sees, and what happens to connections that are already open.
    deny: Literal["drop", "reject"] = "drop"
    established: Literal["kept", "judged again", "unknown"] = "unknown"
    unverified: tuple[str, ...] = ()
    # The program, and its version, that judges generated clusters as the profile does; empty where
    # none was asked.
    proved: str = ""

    @property
    def resolves_names_early(self) -> bool:
        """Whether names of ports are looked up, or known to be in vain, before the pod is known
        that a packet is for: then rules depend on the pods that there are."""
        return (
            self.named_port_union
            or self.named_port_to_anyone == "own-namespace"
            or self.named_port_unknown == "any-port"
        )


REFERENCE = Profile(name="reference", title="the Kubernetes API as written")

_NETWORK = "NetworkPolicy"
ADMIN_KINDS = ("AdminNetworkPolicy", "BaselineAdminNetworkPolicy")  # v1alpha1
_OF_CALICO = ("NetworkPolicy.projectcalico.org", "GlobalNetworkPolicy")
# Of these the addresses are ends of the peer ``namespaces`` of admin policies.
SETS_AS_PODS = ("NetworkSet", "GlobalNetworkSet")
CLUSTER_KIND = "ClusterNetworkPolicy"  # v1alpha2, which replaces them
# Those whose policies have a priority that several may share.
PRIORITY_KINDS = (ADMIN_KINDS[0], CLUSTER_KIND)
CILIUM_KINDS = ("CiliumNetworkPolicy", "CiliumClusterwideNetworkPolicy")

_CALICO = Profile(
    name="calico",
    title="Calico",
    # From 3.29 to 3.31; later versions have cluster policies in place of these.
    policy_apis=(_NETWORK, *_OF_CALICO, *ADMIN_KINDS),
    named_port_containers="all-init",
    admin_nodes=False,
    admin_named_ports="any-port",
    established="kept",
    proved="Calico 3.31.0",
)

_KUBE_ROUTER = Profile(
    name="kube-router",
    title="kube-router",
    policy_apis=(_NETWORK,),
    except_scope="rule",
    named_port_containers="containers",
    named_port_through_ipblock=False,
    named_port_to_anyone="own-namespace",
    named_port_unknown="any-port",
    both_directions="merged",
    icmp="always",
    deny="reject",
    established="kept",
    unverified=("hairpin",),
)

PROFILES: dict[str, Profile] = {
    profile.name: profile
    for profile in (
        REFERENCE,
        _CALICO,
        msgspec.structs.replace(
            _CALICO,
            name="canal",
            title="Canal (Flannel with Calico policy)",
            dual_stack=False,
            proved="",
        ),
        msgspec.structs.replace(
            _CALICO,
            name="calico@3.32",
            title="Calico 3.32",
            # The cluster policies of v1alpha2 in place of those of v1alpha1.
            policy_apis=(_NETWORK, *_OF_CALICO, CLUSTER_KIND),
            admin_nodes=True,
            admin_named_ports="resolve",
            cluster_nodes="fails-closed",
            unverified=("admin_named_ports",),
            proved="",
        ),
        Profile(
            name="cilium",
            title="Cilium",
            # ClusterNetworkPolicy from 1.20, where it is switched on.
            policy_apis=(_NETWORK, CLUSTER_KIND, *CILIUM_KINDS),
            unlisted_rules="applied",
            pod_labels="identity",
            ipblock_matches_pods=False,
            ipblock_matches_nodes=False,
            own_node_deniable=True,
            cluster_nodes="refuse-policy",
            cluster_ties="by-index",
            cluster_baseline="before-isolation",
            cluster_exclusions="everybody",
            named_port_containers="containers",
            named_port_repeated="last",
            named_port_through_ipblock=False,
            hairpin="allowed",
            unverified=("established",),
            proved="Cilium 1.20.2",
        ),
        Profile(
            name="aws-vpc-cni",
            title="AWS VPC CNI",
            policy_apis=(_NETWORK,),
            hostnetwork_peers="always",
            pod_to_own_node=True,
            named_port_containers="containers",
            named_port_union=True,
            named_port_through_ipblock=False,
            named_port_to_anyone="never",
            service_egress="cluster-ip",
            dual_stack=False,
            established="judged again",
            unverified=("except_scope", "hairpin"),
        ),
        _KUBE_ROUTER,
        msgspec.structs.replace(
            _KUBE_ROUTER,
            name="kube-router@2.1",
            title="kube-router 2.1",
            icmp="rules",
            proved="kube-router 2.1.0",
        ),
        Profile(
            name="ovn-kubernetes",
            title="OVN-Kubernetes",
            policy_apis=(_NETWORK, *ADMIN_KINDS, "EgressFirewall"),
            hostnetwork_peers="with-pod-selector",
            named_ports="any-port",
            hairpin="allowed",
            established="judged again",
            unverified=("pod_to_own_node",),
        ),
        Profile(
            name="antrea",
            title="Antrea",
            # Both behind feature gates.
            policy_apis=(_NETWORK, *ADMIN_KINDS, CLUSTER_KIND),
            named_port_containers="containers",
            hairpin="ingress-allowed",
            established="kept",
            unverified=("pod_to_own_node", "named_port_through_ipblock"),
        ),
        Profile(
            name="weave",
            title="Weave Net",
            policy_apis=(_NETWORK,),
            pod_to_own_node=True,
            named_ports="reject-policy",
            end_port=False,
            dual_stack=False,
            established="kept",
            unverified=("except_scope", "icmp", "hairpin"),
        ),
        Profile(
            name="flannel",
            title="Flannel alone",
            enforces=False,
            policy_apis=(),
        ),
        Profile(
            name="kube-network-policies",
            title="kube-network-policies",
            policy_apis=(_NETWORK, *ADMIN_KINDS, CLUSTER_KIND),
            named_port_containers="containers",
            named_port_through_ipblock=False,
            established="judged again",
            unverified=("finished_pods_ignored", "hairpin"),
        ),
    )
}


def takes_sets_for_pods(profile: Profile) -> bool:
    """Whether addresses in sets are ends in a namespace, as peers of admin policies."""
    return profile.policy_apis is not None and _OF_CALICO[0] in profile.policy_apis


# A kind that no profile lists is none that a plug-in could lack.
_LISTED = frozenset(kind for one in PROFILES.values() for kind in one.policy_apis or ()) | {
    "EgressNetworkPolicy"  # of OpenShift SDN, which there is no profile of
}


def implements(profile: Profile, kind: str) -> bool:
    """Whether policies of a kind are more than stored by the API server."""
    return profile.policy_apis is None or kind in profile.policy_apis or kind not in _LISTED


def profile_name(text: str) -> str:
    """The name in ``PROFILES`` of what a user asks for: that name itself, or NAME@VERSION where
    a profile was proved for a version that begins so. Raises ValueError, with what there is."""
    if text in PROFILES:
        return text
    name, _, version = text.partition("@")
    if not version or name not in PROFILES:
        raise ValueError(f"{text!r} is not one of {', '.join(map(repr, PROFILES))}.")
    proved = {
        profile.name: profile.proved.rpartition(" ")[2]
        for profile in PROFILES.values()
        if profile.proved and profile.name.partition("@")[0] == name
    }
    for known, number in proved.items():
        if f"{number}.".startswith(f"{version}."):
            return known
    versions = ", ".join(proved.values()) or "no version"
    raise ValueError(f"{name} was proved for {versions}, not for {version}: leave the version out.")
