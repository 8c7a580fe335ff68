"""The rules: their ids, which are stable, and the texts about each."""

from __future__ import annotations

from collections.abc import Collection

from kubeverdict.analyses.findings import Check, Severity
from kubeverdict.analyses.spelling import closest
from kubeverdict.errors import UsageError

_ERROR, _WARNING, _NOTE = Severity

RULES: tuple[Check, ...] = (
    # --- DNS ----------------------------------------------------------------------------------
    Check(
        "dns-blocked",
        "pods cannot reach the cluster's DNS",
        _ERROR,
        "Without DNS nearly every connection fails before it begins, after seconds of waiting.",
        "Allow egress to the DNS pods on UDP 53 and TCP 53.",
    ),
    Check(
        "dns-no-tcp",
        "pods reach the cluster's DNS over UDP only",
        _WARNING,
        "An answer that does not fit a datagram is asked for again over TCP; it never comes.",
        "Allow TCP 53 as well as UDP 53.",
    ),
    Check(
        "dns-selector",
        "the rule for DNS selects no DNS pod",
        _ERROR,
        "The policy looks as if it allowed DNS, and allows nothing.",
        "Select the DNS pods by labels that they and their namespace have.",
    ),
    Check(
        "dns-node-local",
        "pods cannot reach the node-local DNS cache",
        _WARNING,
        "Where the cache runs, pods ask 169.254.20.10; no pod selector matches that address.",
        "Allow egress to ipBlock 169.254.20.10/32 on UDP 53 and TCP 53.",
    ),
    # --- selectors ----------------------------------------------------------------------------
    Check(
        "selector-typo",
        "a selector is one letter away from a label that exists",
        _ERROR,
        "It matches nothing, so the policy guards or allows nothing, without any error.",
        "Write the label as it exists.",
    ),
    Check(
        "policy-selects-nothing",
        "a policy selects no pod",
        _WARNING,
        "It has no effect: the pods that it was written for are not guarded by it.",
        "Correct the podSelector, or delete the policy.",
    ),
    Check(
        "peer-selects-nothing",
        "a peer selects no pod",
        _WARNING,
        "What the rule was written to allow stays denied.",
        "Correct the selector, or delete the peer.",
    ),
    Check(
        "namespace-selects-nothing",
        "a namespaceSelector selects no namespace",
        _WARNING,
        "What the rule was written to allow stays denied.",
        "Correct the namespaceSelector, or label the namespace.",
    ),
    Check(
        "peer-split",
        "namespaceSelector and podSelector stand in two list items",
        _WARNING,
        "They are alternatives: every pod of those namespaces, and such pods of the policy's own.",
        "Put podSelector into the item of the namespaceSelector, without a dash of its own.",
    ),
    Check(
        "peer-host-network",
        "a selector matches only pods on the host network",
        _WARNING,
        "Most CNIs see such a pod as the address of its node, which no selector matches.",
        "Use an ipBlock with the addresses of the nodes.",
    ),
    # --- ports --------------------------------------------------------------------------------
    Check(
        "port-not-listened",
        "a rule allows a port on which none of its pods listens",
        _WARNING,
        "Policies are judged on the port of the pod, not on the port of a Service.",
        "Use the containerPort, or its name.",
    ),
    Check(
        "port-name-unknown",
        "a rule names a port that none of its pods has",
        _WARNING,
        "A name that resolves nowhere allows nothing.",
        "Use a name that the containers declare for that protocol.",
    ),
    Check(
        "port-name-block",
        "a rule allows a port of an address block by its name",
        _WARNING,
        "A name is looked up on the pod that is reached; an address outside the cluster has none.",
        "Use the number of the port.",
    ),
    Check(
        "port-name-varies",
        "the name of a port stands for different numbers",
        _NOTE,
        "The rule opens another port on each kind of pod; some CNIs open all of them on all.",
        "Nothing, if that is meant; otherwise use a number.",
    ),
    Check(
        "port-protocol",
        "a rule allows a port over another protocol than its pods listen on",
        _WARNING,
        "TCP and UDP ports of one number are different ports.",
        "Use the protocol that the container declares.",
    ),
    # --- one-sided ----------------------------------------------------------------------------
    Check(
        "egress-one-sided",
        "egress is allowed and the other end denies ingress",
        _WARNING,
        "A connection needs both ends. It fails, though this policy allows it.",
        "Allow the ingress at the other end too, or delete the rule.",
    ),
    Check(
        "ingress-one-sided",
        "ingress is allowed and the other end denies egress",
        _WARNING,
        "A connection needs both ends. It fails, though this policy allows it.",
        "Allow the egress at the other end too, or delete the rule.",
    ),
    # --- too broad ----------------------------------------------------------------------------
    Check(
        "ingress-from-everywhere",
        "ingress from everywhere to pods that nothing exposes",
        _WARNING,
        "Every pod of every namespace gets in, and every address that has a route.",
        "Name the clients in `from`.",
    ),
    Check(
        "egress-to-everywhere",
        "egress to everywhere",
        _NOTE,
        "A compromised pod can reach them too, cloud metadata included.",
        "Name the destinations in `to`.",
    ),
    Check(
        "metadata-open",
        "an address block includes the cloud metadata address",
        _WARNING,
        "At 169.254.169.254 clouds give the credentials of the node to any client.",
        "Add `except: [169.254.169.254/32]`, or fd00:ec2::254/128 for IPv6.",
    ),
    Check(
        "block-in-cluster",
        "an address block contains addresses of the cluster",
        _WARNING,
        "Meant for the world outside, it also opens pods, nodes or Services; CNIs differ in it.",
        "Add the cluster's ranges to `except`, and allow pods by labels.",
    ),
    # --- exposure -----------------------------------------------------------------------------
    Check(
        "service-unreachable",
        "a LoadBalancer or NodePort Service leads to pods that deny its clients",
        _ERROR,
        "The Service is there to be reached from outside; its clients wait for a timeout.",
        "Allow ingress from the clients' addresses on the target port.",
    ),
    Check(
        "service-source",
        "clients of a Service come with the address of a node",
        _WARNING,
        "Under externalTrafficPolicy Cluster the node's address hides the client's.",
        "Set externalTrafficPolicy: Local, or allow the addresses of the nodes.",
    ),
    Check(
        "ingress-unreachable",
        "an Ingress or a route leads to pods that deny its controller",
        _ERROR,
        "The controller answers 502 or 504 for every request.",
        "Allow ingress from the controller's pods on the target port.",
    ),
    Check(
        "webhook-unreachable",
        "a webhook is in pods that deny the API server",
        _ERROR,
        "The API server is not a pod: its address is a node's or external; no selector matches it.",
        "Allow ingress on the webhook's port without a `from`, or from the control plane.",
    ),
    Check(
        "aggregated-api-unreachable",
        "an APIService is served by pods that deny the API server",
        _ERROR,
        "Nobody can use the API, and namespaces can no longer be deleted.",
        "Allow ingress on the API's port without a `from`, or from the control plane.",
    ),
    Check(
        "metrics-unreachable",
        "the metrics server cannot reach the kubelets",
        _ERROR,
        "It asks each node on TCP 10250; without it kubectl top and autoscaling have no figures.",
        "Allow egress to the addresses of the nodes on TCP 10250.",
    ),
    # --- coverage -----------------------------------------------------------------------------
    Check(
        "no-default-deny-ingress",
        "a namespace has no default deny for ingress",
        _WARNING,
        "A pod that no policy selects, a new one for instance, accepts connections from anywhere.",
        "Add a policy with an empty podSelector and policyTypes: [Ingress].",
    ),
    Check(
        "no-default-deny-egress",
        "a namespace has no default deny for egress",
        _NOTE,
        "A pod that no policy selects for egress reaches everything.",
        "Add a policy with an empty podSelector and policyTypes: [Egress], and one for DNS.",
    ),
    Check(
        "pod-unselected",
        "pods that no policy selects",
        _WARNING,
        "They accept and open any connection, in a namespace that is otherwise guarded.",
        "Write a policy for them, or a default deny.",
    ),
    Check(
        "partial-replicas",
        "a policy selects some replicas of a workload and not others",
        _WARNING,
        "The guard depends on which replica answers, and changes with the next rollout.",
        "Select by labels that all replicas have.",
    ),
    Check(
        "policy-shadowed",
        "all that a policy allows is allowed by another one",
        _NOTE,
        "Other policies allow every connection that it allows, so deleting it closes nothing.",
        "Delete it, or narrow the other policy.",
    ),
    Check(
        "policy-redundant",
        "all that a policy does is done by others",
        _NOTE,
        "Other policies allow every connection that it allows, so deleting it closes nothing.",
        "Delete it, or narrow the others.",
    ),
    # --- misleading ---------------------------------------------------------------------------
    Check(
        "policy-types-too-few",
        "a policy does not isolate in a direction that it writes rules for",
        _WARNING,
        "Rules of a direction that policyTypes lacks have no effect, not even an empty list; only "
        "Cilium applies them.",
        "List both directions in policyTypes.",
    ),
    Check(
        "policy-types-too-many",
        "policyTypes was left out, so an egress policy isolates for ingress too",
        _WARNING,
        "Without policyTypes every policy isolates for ingress, and this one allows none.",
        "Write policyTypes: [Egress].",
    ),
    Check(
        "deny-one-way",
        "a policy that is called a deny of everything isolates for ingress only",
        _WARNING,
        "Without policyTypes a policy that has no egress rule leaves egress open.",
        "Write policyTypes: [Ingress, Egress].",
    ),
    Check(
        "cni-differs",
        "a policy means different things to different CNIs",
        _WARNING,
        "What was tested on one cluster is not what the other enforces.",
        "Write the rule in a way that all of them understand alike.",
    ),
    Check(
        "cni-not-enforced",
        "the CNI enforces no network policy",
        _ERROR,
        "The API server stores the policies and nothing acts on them.",
        "Use a CNI that enforces policies, or add one for policy alone.",
    ),
    # --- other APIs ---------------------------------------------------------------------------
    Check(
        "denial-isolates",
        "a policy that only denies isolates, and so denies everything else too",
        _ERROR,
        "A policy of Cilium isolates in every direction for which it has a rule, also one that "
        "denies.",
        "Set enableDefaultDeny to false for that direction, or allow what is to be allowed.",
    ),
    Check(
        "service-missing",
        "a rule is for Services that are not there",
        _ERROR,
        "Where none of its Services exists, a rule of Cilium with ports is one for every address.",
        "Name a Service that exists, or the pods behind it (toEndpoints).",
    ),
    Check(
        "entity-own-node",
        "a rule of Cilium is for the node of a pod alone",
        _NOTE,
        "The entity host is the node that the pod runs on: probes and hostNetwork pods of other "
        "nodes are remote-node.",
        "Name remote-node as well, unless the own node is what is meant.",
    ),
    Check(
        "label-unseen",
        "a selector asks for labels that the CNI does not look at",
        _ERROR,
        "Cilium leaves labels of Kubernetes and of controllers out of a pod's identity: no pod "
        "has them.",
        "Select by a label of the application, or configure the agent's option labels.",
    ),
    Check(
        "kind-ignored",
        "policies are of a kind that the CNI does not implement",
        _ERROR,
        "The API server stores them, and nothing acts on them.",
        "Write them in a kind that this version of the CNI has.",
    ),
    # --- tiers --------------------------------------------------------------------------------
    Check(
        "tier-missing",
        "a policy is in a tier that the input does not hold",
        _WARNING,
        "Calico's API server refuses it; where it is stored, it comes after all others, and its "
        "tier denies in the end.",
        "Add the Tier, or correct its name.",
    ),
    Check(
        "pass-in-last-tier",
        "a rule passes connections on where no tier follows",
        _WARNING,
        "Behind the last tier everything is allowed: the rule opens what its tier would deny.",
        "Write Allow if that is meant; otherwise leave the rule out.",
    ),
    Check(
        "order-tie",
        "policies have the same priority, and their order changes a verdict",
        _WARNING,
        "Which of them comes first the API leaves to each CNI.",
        "Give each a priority of its own.",
    ),
    Check(
        "baseline-unreached",
        "a baseline is about pods that other policies isolate",
        _WARNING,
        "The baseline is asked only where no policy of the default tier isolates the pod.",
        "Put the rule into the admin tier, or leave it out.",
    ),
    Check(
        "baseline-opens",
        "a baseline opens pods that other policies isolate",
        _ERROR,
        "Cilium 1.20 denies for isolation after the baseline, so what that allows is allowed.",
        "Narrow the rule to pods that are not isolated, or to what they may receive.",
    ),
    # --- intent -------------------------------------------------------------------------------
    Check(
        "annotation-missing",
        "a policy lacks an annotation that kubeverdict.toml requires",
        _WARNING,
        "It is not known whom to ask, or whether the policy still does what it was meant to.",
        "Add the annotation.",
    ),
    Check(
        "suppression",
        "an annotation that turns a rule off is not valid",
        _WARNING,
        "A rule is turned off only with a reason.",
        "Give the id of a rule and a reason.",
    ),
)

BY_ID = {rule.id: rule for rule in RULES}


def known(ids: Collection[str], where: str) -> frozenset[str]:
    """``ids``, which ``where`` names. Raises UsageError for one that is no rule's."""
    for one in ids:
        if one not in BY_ID:
            guess = closest(one, BY_ID)
            hint = f" ({guess})" if guess else ""
            raise UsageError(f"{where}: there is no rule {one!r}{hint}")
    return frozenset(ids)
