"""Policies of other APIs: kinds that are known and not evaluated.

Kinds clash (there are four ``NetworkPolicy`` and three ``ClusterNetworkPolicy``), so everything is
keyed by API group and kind. Sources: the custom resource definitions of each project.
"""

from __future__ import annotations

from typing import NamedTuple

from kubeverdict.manifests.resources import Resource
from kubeverdict.model.unevaluated import Gap


class PolicyKind(NamedTuple):
    """``short`` are the names that ``kubectl`` takes beside the kind; ``gap`` is what verdicts
    miss while objects of the kind are not evaluated."""

    gap: Gap
    namespaced: bool
    short: tuple[str, ...] = ()


_BOTH, _DENIES, _PART = Gap.POLICY, Gap.RESTRICTION, Gap.POLICY_PART

POLICY_KINDS: dict[Resource, PolicyKind] = {
    # Kubernetes: the network policy API
    ("policy.networking.k8s.io", "AdminNetworkPolicy"): PolicyKind(_BOTH, False, ("anp",)),
    ("policy.networking.k8s.io", "BaselineAdminNetworkPolicy"): PolicyKind(_BOTH, False, ("banp",)),
    ("policy.networking.k8s.io", "ClusterNetworkPolicy"): PolicyKind(_BOTH, False, ("cnp",)),
    # Amazon EKS
    ("networking.k8s.aws", "ApplicationNetworkPolicy"): PolicyKind(_BOTH, True, ("anp",)),
    ("networking.k8s.aws", "ClusterNetworkPolicy"): PolicyKind(_BOTH, False, ("cnp",)),
    ("vpcresources.k8s.aws", "SecurityGroupPolicy"): PolicyKind(_DENIES, True, ("sgp",)),
    # Google GKE
    ("networking.gke.io", "FQDNNetworkPolicy"): PolicyKind(_BOTH, True, ("fqdnnp",)),
    # Antrea
    ("crd.antrea.io", "NetworkPolicy"): PolicyKind(_BOTH, True, ("annp",)),
    ("crd.antrea.io", "ClusterNetworkPolicy"): PolicyKind(_BOTH, False, ("acnp",)),
    ("crd.antrea.io", "Tier"): PolicyKind(_PART, False),
    ("crd.antrea.io", "ClusterGroup"): PolicyKind(_PART, False, ("cg",)),
    ("crd.antrea.io", "Group"): PolicyKind(_PART, True, ("grp",)),
    # Calico, as its API server has it and as it is stored
    **{
        (group, kind): row
        for group in ("projectcalico.org", "crd.projectcalico.org")
        for kind, row in {
            "NetworkPolicy": PolicyKind(_BOTH, True, ("cnp",)),
            "GlobalNetworkPolicy": PolicyKind(_BOTH, False, ("gnp",)),
            "NetworkSet": PolicyKind(_PART, True, ("netsets",)),
            "GlobalNetworkSet": PolicyKind(_PART, False),
            "HostEndpoint": PolicyKind(_PART, False, ("hep",)),
            "Tier": PolicyKind(_PART, False),
        }.items()
    },
    # Cilium
    ("cilium.io", "CiliumNetworkPolicy"): PolicyKind(_BOTH, True, ("cnp", "ciliumnp")),
    ("cilium.io", "CiliumClusterwideNetworkPolicy"): PolicyKind(_BOTH, False, ("ccnp",)),
    ("cilium.io", "CiliumCIDRGroup"): PolicyKind(_PART, False, ("ccg",)),
    # OVN-Kubernetes and OpenShift. A network of their own takes pods away from all others.
    ("k8s.ovn.org", "EgressFirewall"): PolicyKind(_DENIES, True),
    ("k8s.ovn.org", "UserDefinedNetwork"): PolicyKind(_BOTH, True, ("udn",)),
    ("k8s.ovn.org", "ClusterUserDefinedNetwork"): PolicyKind(_BOTH, False, ("cudn",)),
    ("network.openshift.io", "EgressNetworkPolicy"): PolicyKind(_DENIES, True),
    # Networks beside the cluster's
    ("k8s.cni.cncf.io", "MultiNetworkPolicy"): PolicyKind(Gap.NETWORK, True, ("multi-policy",)),
    ("k8s.cni.cncf.io", "NetworkAttachmentDefinition"): PolicyKind(
        Gap.NETWORK, True, ("net-attach-def",)
    ),
    # Service meshes: what they refuse comes on top of what policies deny.
    ("security.istio.io", "AuthorizationPolicy"): PolicyKind(_DENIES, True, ("ap",)),
    ("security.istio.io", "PeerAuthentication"): PolicyKind(_DENIES, True, ("pa",)),
    ("security.istio.io", "RequestAuthentication"): PolicyKind(_DENIES, True, ("ra",)),
    ("networking.istio.io", "Sidecar"): PolicyKind(_DENIES, True),
    ("policy.linkerd.io", "Server"): PolicyKind(_DENIES, True, ("srv",)),
    ("policy.linkerd.io", "ServerAuthorization"): PolicyKind(_DENIES, True, ("saz",)),
    ("policy.linkerd.io", "AuthorizationPolicy"): PolicyKind(_DENIES, True, ("authzpolicy",)),
    ("policy.linkerd.io", "EgressNetwork"): PolicyKind(_DENIES, True),
    ("policy.linkerd.io", "MeshTLSAuthentication"): PolicyKind(_PART, True, ("meshtlsauthn",)),
    ("policy.linkerd.io", "NetworkAuthentication"): PolicyKind(_PART, True, ("netauthn",)),
    ("policy.linkerd.io", "HTTPRoute"): PolicyKind(_PART, True),
    ("kuma.io", "MeshTrafficPermission"): PolicyKind(_DENIES, True),
    ("kuma.io", "TrafficPermission"): PolicyKind(_DENIES, False),
    ("consul.hashicorp.com", "ServiceIntentions"): PolicyKind(_DENIES, True),
    ("access.smi-spec.io", "TrafficTarget"): PolicyKind(_DENIES, True),
    # Others
    ("kubeovn.io", "SecurityGroup"): PolicyKind(_DENIES, False, ("sg",)),
    ("crd.nsx.vmware.com", "SecurityPolicy"): PolicyKind(_BOTH, True),
    ("neuvector.com", "NvClusterSecurityRule"): PolicyKind(_DENIES, False),
    ("neuvector.com", "NvSecurityRule"): PolicyKind(_DENIES, True),
    ("security.kubearmor.com", "KubeArmorPolicy"): PolicyKind(_DENIES, True, ("ksp",)),
    # Makes NetworkPolicies, of which only a dump of the cluster has the result.
    ("k8s.otterize.com", "ClientIntents"): PolicyKind(_BOTH, True),
}


def policy_gap(group: str, kind: str) -> Gap | None:
    """What verdicts miss without a policy of this kind; None for a kind that is no policy.

    A kind that is not known and calls itself a network policy is taken for one."""
    row = POLICY_KINDS.get((group, kind))
    if row is not None:
        return row.gap
    return Gap.POLICY if "NetworkPolicy" in kind and not kind.startswith("Staged") else None


def is_policy(kind: str) -> bool:
    """Whether a policy of some API may be meant by a kind without its group."""
    return kind in _NAMES or "NetworkPolicy" in kind


_NAMES = frozenset(kind for _, kind in POLICY_KINDS)


def named(word: str) -> list[Resource]:
    """The kinds that ``kubectl`` might take ``word`` for: ``cnp``, ``ciliumnetworkpolicies``,
    ``CiliumNetworkPolicy.cilium.io``."""
    name, _, group = word.lower().partition(".")
    found = []
    for resource, row in POLICY_KINDS.items():
        kind = resource[1].lower()
        plural = f"{kind[:-1]}ies" if kind.endswith("y") else f"{kind}s"
        if name in (kind, plural, *row.short) and group in ("", resource[0]):
            found.append(resource)
    return found
