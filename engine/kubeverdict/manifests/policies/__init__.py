"""The table of policy APIs: what each is called, where its objects live, and what reads them.

In: a document of an API group and kind. Out: a :class:`~kubeverdict.model.policy.Policy`, or what
verdicts miss without it. ``POLICIES`` is the whole list. Whoever asks whether something is a
policy, whether it lies in a namespace, how ``kubectl`` spells it or what isolates reads the table:
a new API is one module in this folder, and its row. So is a kind of document that policies refer
to (a set of addresses, a tier); out of it comes a definition, see
:mod:`kubeverdict.model.references`.

Decided: kinds clash (``NetworkPolicy`` exists in four groups, ``ClusterNetworkPolicy`` in three,
``cnp`` is short for five kinds), so everything is looked up by API group and kind. The kind alone
names the first API in the table that has it; another one's name has the group behind it
(``NetworkPolicy.crd.antrea.io``). So ``Policy.kind`` distinguishes the APIs.

Sources: the custom resource definitions of each project.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

from kubeverdict.manifests.resources import Resource, group_of
from kubeverdict.model.policy import NETWORK_POLICY_TIER, Action, Layer, Tier
from kubeverdict.model.unevaluated import Gap

if TYPE_CHECKING:
    from kubeverdict.manifests.policies.reading import ReadDefinition, ReadPolicy


class PolicyApi(NamedTuple):
    """An API whose policies are evaluated. ``short`` are the names that ``kubectl`` takes besides
    the kind, ``versions`` those that are read, the newest first. ``tier`` is where its policies are
    that do not say it themselves; ``reader`` a module and a function of this package;
    ``several``: a document may have ``specs``."""

    namespaced: bool
    short: tuple[str, ...]
    versions: tuple[str, ...]
    tier: Tier
    reader: str
    several: bool = False


class DefinitionApi(NamedTuple):
    """An API whose objects policies refer to. The columns are those of policies."""

    namespaced: bool
    short: tuple[str, ...]
    versions: tuple[str, ...]
    reader: str


class StoredApi(NamedTuple):
    """The form in which an API is stored, under a group of its own: its objects are those of
    ``of``, and read as such."""

    of: Resource
    versions: tuple[str, ...]
    short: tuple[str, ...] = ()


class UnreadApi(NamedTuple):
    """An API that is known and not evaluated. ``gap`` is what verdicts miss; None: nothing."""

    gap: Gap | None
    namespaced: bool
    short: tuple[str, ...] = ()


# Before and after NetworkPolicy: what no rule of these decides, the next tier does.
ADMIN_TIER = Tier(1_000.0, "admin", Action.PASS)
BASELINE_TIER = Tier(10_000_000.0, "baseline", Action.PASS)
# A layer of its own: what it does not deny it allows.
FIREWALL_TIER = Tier(0.0, "egress firewall", Action.PASS, Layer(1, "egress firewall"))
_BOTH, _DENIES, _PART = Gap.POLICY, Gap.RESTRICTION, Gap.POLICY_PART

_CALICO, _CALICO_STORED = "projectcalico.org", "crd.projectcalico.org"

POLICIES: dict[Resource, PolicyApi | DefinitionApi | StoredApi | UnreadApi] = {
    # Kubernetes itself
    ("networking.k8s.io", "NetworkPolicy"): PolicyApi(
        True, ("netpol",), ("v1",), NETWORK_POLICY_TIER, "networkpolicy.read"
    ),
    # Kubernetes: the network policy API
    ("policy.networking.k8s.io", "AdminNetworkPolicy"): PolicyApi(
        False, ("anp",), ("v1alpha1",), ADMIN_TIER, "adminnetworkpolicy.read"
    ),
    ("policy.networking.k8s.io", "BaselineAdminNetworkPolicy"): PolicyApi(
        False, ("banp",), ("v1alpha1",), BASELINE_TIER, "adminnetworkpolicy.read_baseline"
    ),
    ("policy.networking.k8s.io", "ClusterNetworkPolicy"): PolicyApi(
        False, ("cnp",), ("v1beta1", "v1alpha2"), ADMIN_TIER, "clusternetworkpolicy.read"
    ),
    # Amazon EKS
    ("networking.k8s.aws", "ApplicationNetworkPolicy"): UnreadApi(_BOTH, True, ("anp",)),
    ("networking.k8s.aws", "ClusterNetworkPolicy"): UnreadApi(_BOTH, False, ("cnp",)),
    ("vpcresources.k8s.aws", "SecurityGroupPolicy"): UnreadApi(_DENIES, True, ("sgp",)),
    # Google GKE
    ("networking.gke.io", "FQDNNetworkPolicy"): UnreadApi(_BOTH, True, ("fqdnnp",)),
    # Antrea
    ("crd.antrea.io", "NetworkPolicy"): UnreadApi(_BOTH, True, ("annp",)),
    ("crd.antrea.io", "ClusterNetworkPolicy"): UnreadApi(_BOTH, False, ("acnp",)),
    ("crd.antrea.io", "Tier"): UnreadApi(_PART, False),
    ("crd.antrea.io", "ClusterGroup"): UnreadApi(_PART, False, ("cg",)),
    ("crd.antrea.io", "Group"): UnreadApi(_PART, True, ("grp",)),
    # Calico, as its API server has it and as it is stored
    (_CALICO, "NetworkPolicy"): PolicyApi(
        True, ("cnp",), ("v3",), NETWORK_POLICY_TIER, "calico.read"
    ),
    (_CALICO, "GlobalNetworkPolicy"): PolicyApi(
        False, ("gnp",), ("v3",), NETWORK_POLICY_TIER, "calico.read_global"
    ),
    (_CALICO, "NetworkSet"): DefinitionApi(True, ("netsets",), ("v3",), "calico.read_set"),
    (_CALICO, "GlobalNetworkSet"): DefinitionApi(False, (), ("v3",), "calico.read_set"),
    (_CALICO, "Tier"): DefinitionApi(False, (), ("v3",), "calico.read_tier"),
    **{
        (_CALICO_STORED, kind): StoredApi((_CALICO, kind), ("v1",))
        for kind in (
            *("NetworkPolicy", "GlobalNetworkPolicy"),
            *("NetworkSet", "GlobalNetworkSet", "Tier"),
        )
    },
    **{
        (group, kind): row
        for group in (_CALICO, _CALICO_STORED)
        for kind, row in {
            "HostEndpoint": UnreadApi(Gap.NODES, False, ("hep",)),
            "StagedNetworkPolicy": UnreadApi(Gap.STAGED, True),
            "StagedGlobalNetworkPolicy": UnreadApi(Gap.STAGED, False),
            "StagedKubernetesNetworkPolicy": UnreadApi(Gap.STAGED, True),
            # Of pods Calico makes them itself, from namespaces and service accounts.
            "Profile": UnreadApi(None, False),
        }.items()
    },
    # Cilium
    ("cilium.io", "CiliumNetworkPolicy"): PolicyApi(
        True, ("cnp", "ciliumnp"), ("v2",), NETWORK_POLICY_TIER, "ciliumnetworkpolicy.read", True
    ),
    ("cilium.io", "CiliumClusterwideNetworkPolicy"): PolicyApi(
        False, ("ccnp",), ("v2",), NETWORK_POLICY_TIER, "ciliumnetworkpolicy.read", True
    ),
    ("cilium.io", "CiliumCIDRGroup"): DefinitionApi(
        False, ("ccg",), ("v2", "v2alpha1"), "ciliumcidrgroup.read"
    ),
    # OVN-Kubernetes and OpenShift. A network of their own takes pods away from all others.
    ("k8s.ovn.org", "EgressFirewall"): PolicyApi(
        True, (), ("v1",), FIREWALL_TIER, "egressfirewall.read"
    ),
    ("k8s.ovn.org", "UserDefinedNetwork"): UnreadApi(_BOTH, True, ("udn",)),
    ("k8s.ovn.org", "ClusterUserDefinedNetwork"): UnreadApi(_BOTH, False, ("cudn",)),
    ("network.openshift.io", "EgressNetworkPolicy"): PolicyApi(
        True, (), ("v1",), FIREWALL_TIER, "egressfirewall.read_openshift"
    ),
    # Networks other than the cluster's
    ("k8s.cni.cncf.io", "MultiNetworkPolicy"): UnreadApi(Gap.NETWORK, True, ("multi-policy",)),
    ("k8s.cni.cncf.io", "NetworkAttachmentDefinition"): UnreadApi(
        Gap.NETWORK, True, ("net-attach-def",)
    ),
    # Service meshes: what they refuse comes on top of what policies deny.
    ("security.istio.io", "AuthorizationPolicy"): UnreadApi(_DENIES, True, ("ap",)),
    ("security.istio.io", "PeerAuthentication"): UnreadApi(_DENIES, True, ("pa",)),
    ("security.istio.io", "RequestAuthentication"): UnreadApi(_DENIES, True, ("ra",)),
    ("networking.istio.io", "Sidecar"): UnreadApi(_DENIES, True),
    ("policy.linkerd.io", "Server"): UnreadApi(_DENIES, True, ("srv",)),
    ("policy.linkerd.io", "ServerAuthorization"): UnreadApi(_DENIES, True, ("saz",)),
    ("policy.linkerd.io", "AuthorizationPolicy"): UnreadApi(_DENIES, True, ("authzpolicy",)),
    ("policy.linkerd.io", "EgressNetwork"): UnreadApi(_DENIES, True),
    ("policy.linkerd.io", "MeshTLSAuthentication"): UnreadApi(_PART, True, ("meshtlsauthn",)),
    ("policy.linkerd.io", "NetworkAuthentication"): UnreadApi(_PART, True, ("netauthn",)),
    ("policy.linkerd.io", "HTTPRoute"): UnreadApi(_PART, True),
    ("kuma.io", "MeshTrafficPermission"): UnreadApi(_DENIES, True),
    ("kuma.io", "TrafficPermission"): UnreadApi(_DENIES, False),
    ("consul.hashicorp.com", "ServiceIntentions"): UnreadApi(_DENIES, True),
    ("access.smi-spec.io", "TrafficTarget"): UnreadApi(_DENIES, True),
    # Others
    ("kubeovn.io", "SecurityGroup"): UnreadApi(_DENIES, False, ("sg",)),
    ("crd.nsx.vmware.com", "SecurityPolicy"): UnreadApi(_BOTH, True),
    ("neuvector.com", "NvClusterSecurityRule"): UnreadApi(_DENIES, False),
    ("neuvector.com", "NvSecurityRule"): UnreadApi(_DENIES, True),
    ("security.kubearmor.com", "KubeArmorPolicy"): UnreadApi(_DENIES, True, ("ksp",)),
    # Makes NetworkPolicies, of which only a dump of the cluster has the result.
    ("k8s.otterize.com", "ClientIntents"): UnreadApi(_BOTH, True),
}


_FIRST = {
    kind: (group, kind)
    for (group, kind), row in reversed(POLICIES.items())
    if not isinstance(row, StoredApi)
}
# What a kind that is in no row is taken for a policy by.
_WORD = "NetworkPolicy"


def policy_name(group: str, kind: str) -> str:
    """What an API of the table is called, and its policies have as their ``kind``."""
    return kind if _FIRST[kind] == (group, kind) else f"{kind}.{group}"


EVALUATED: dict[str, tuple[Resource, PolicyApi]] = {
    policy_name(*resource): (resource, row)
    for resource, row in POLICIES.items()
    if isinstance(row, PolicyApi)
}
"""The APIs whose policies are evaluated, by what they are called: ``Policy.kind``."""


DEFINITIONS: dict[str, tuple[Resource, DefinitionApi]] = {
    policy_name(*resource): (resource, row)
    for resource, row in POLICIES.items()
    if isinstance(row, DefinitionApi)
}
"""The APIs whose objects policies refer to, by what they are called: ``Definition.kind``."""


def is_evaluated(name: str) -> bool:
    """Whether a kind, as objects and references have it, is that of a policy."""
    return name in EVALUATED


def is_definition(name: str) -> bool:
    """Whether a kind, as objects and references have it, is one that policies refer to."""
    return name in DEFINITIONS


def row_of(name: str) -> tuple[Resource, PolicyApi | DefinitionApi]:
    """The API that is evaluated, or that policies refer to, of a name."""
    return EVALUATED[name] if name in EVALUATED else DEFINITIONS[name]


def is_namespaced(name: str) -> bool:
    """Whether objects of an API that is evaluated are in a namespace."""
    return row_of(name)[1].namespaced


def evaluated_as(group: str, kind: str) -> str | None:
    """What the API of a document is called, if it is evaluated or policies refer to it.

    A group without a dot is Kubernetes' own and has no policies: the kind alone then tells what
    was meant."""
    if "." not in group:
        return kind if kind in EVALUATED else None
    row = POLICIES.get((group, kind))
    if isinstance(row, StoredApi):
        return policy_name(*row.of)
    return policy_name(group, kind) if isinstance(row, PolicyApi | DefinitionApi) else None


@cache
def api_versions(name: str) -> tuple[str, ...]:
    """What ``apiVersion`` says in policies of an API that is evaluated, the newest first."""
    (group, _), row = row_of(name)
    return tuple(f"{group}/{version}" for version in row.versions)


@cache
def read_as(api_version: str | None, kind: str) -> str | None:
    """What the API of a document is called whose policies are read in this version."""
    group = group_of(api_version or "")
    name = evaluated_as(group, kind)
    row = POLICIES.get((group, kind))
    if isinstance(row, StoredApi):
        versions = tuple(f"{group}/{version}" for version in row.versions)
    else:
        versions = api_versions(name) if name else ()
    return name if api_version in versions else None


@cache
def reader_of(name: str) -> ReadPolicy | ReadDefinition:
    """The function that reads the objects of an API that is evaluated."""
    module, function = row_of(name)[1].reader.split(".")
    found: ReadPolicy | ReadDefinition = getattr(import_module(f"{__name__}.{module}"), function)
    return found


def policy_gap(group: str, kind: str) -> Gap | None:
    """What verdicts miss without a policy of this kind; None for nothing.

    A kind that is not known and calls itself a network policy is taken for one."""
    row = POLICIES.get((group, kind))
    if row is None:
        return Gap.POLICY if _WORD in kind else None
    return row.gap if isinstance(row, UnreadApi) else None


def is_policy(kind: str) -> bool:
    """Whether a policy of some API may be meant by a kind without its group."""
    return kind in _FIRST or _WORD in kind


def named(word: str) -> list[Resource]:
    """The kinds that ``kubectl`` might take ``word`` for: ``cnp``, ``ciliumnetworkpolicies``,
    ``CiliumNetworkPolicy.cilium.io``.

    A kind that is written out means the first that is evaluated, if any is; a short name may
    stand for several."""
    name, _, group = word.lower().partition(".")
    rows = {
        one: row
        for one, row in POLICIES.items()
        if group in ("", one[0]) and (group or not isinstance(row, StoredApi))
    }
    written = [one for one in rows if name in spellings(one[1])]
    if written:
        return [one for one in written if not isinstance(rows[one], UnreadApi)][:1] or written
    return [one for one, row in rows.items() if name in row.short]


def spellings(kind: str) -> tuple[str, str]:
    """A kind in lower case, in the singular and in the plural."""
    word = kind.lower()
    return word, f"{word[:-1]}ies" if word.endswith("y") else f"{word}s"


def path_of(namespace: str | None, name: str) -> str:
    """``NAMESPACE/NAME``, or ``NAME`` of what is in no namespace."""
    return f"{namespace}/{name}" if namespace else name


def marks(kinds: Iterable[str]) -> tuple[str, ...]:
    """As few words as can be of which every text with one of ``kinds`` in it holds one."""
    found = set(kinds)
    return tuple(sorted(one for one in found if not any(o in one for o in found - {one})))


MARKS = marks(kind for (_, kind), _ in (*EVALUATED.values(), *DEFINITIONS.values()))
"""A text without any of these holds no policy that is evaluated, nor what one refers to."""
