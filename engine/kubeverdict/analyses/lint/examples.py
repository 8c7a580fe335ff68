"""What each rule finds, as short as it can be shown: the part of a manifest that it is about."""

from __future__ import annotations

from typing import Final

EXAMPLES: Final[dict[str, str]] = {
    "dns-blocked": """
podSelector: {}
policyTypes: [Egress]
egress:
  - to: [{podSelector: {}}]  # and port 53 is not allowed
""",
    "dns-no-tcp": """
egress:
  - to: [{namespaceSelector: {}}]
    ports: [{protocol: UDP, port: 53}]
""",
    "dns-selector": """
egress:
  - to:
      - namespaceSelector: {}
        podSelector: {matchLabels: {k8s-app: coredns}}  # they are kube-dns
    ports: [{protocol: UDP, port: 53}, {protocol: TCP, port: 53}]
""",
    "dns-node-local": """
egress:  # where the cache runs on every node
  - to:
      - namespaceSelector: {}
        podSelector: {matchLabels: {k8s-app: kube-dns}}
""",
    "selector-typo": """
podSelector: {matchLabels: {app: fronted}}  # the pods have app: frontend
""",
    "policy-selects-nothing": """
podSelector: {matchLabels: {app: retired}}
""",
    "peer-selects-nothing": """
ingress:
  - from: [{podSelector: {matchLabels: {app: retired}}}]
""",
    "namespace-selects-nothing": """
ingress:
  - from: [{namespaceSelector: {matchLabels: {team: nobody}}}]
""",
    "peer-split": """
ingress:
  - from:
      - namespaceSelector: {matchLabels: {team: data}}
      - podSelector: {matchLabels: {app: etl}}  # a dash too many
""",
    "peer-host-network": """
ingress:
  - from:
      - namespaceSelector: {}
        podSelector: {matchLabels: {app: node-exporter}}  # hostNetwork
""",
    "port-not-listened": """
ingress:
  - ports: [{port: 80}]  # of the Service; the containers listen on 8080
""",
    "port-name-unknown": """
ingress:
  - ports: [{port: htttp}]
""",
    "port-name-block": """
egress:
  - to: [{ipBlock: {cidr: 203.0.113.0/24}}]
    ports: [{port: https}]
""",
    "port-name-varies": """
podSelector: {}
ingress:
  - ports: [{port: http}]  # 8080 on web, 9000 on api
""",
    "port-protocol": """
ingress:
  - ports: [{port: 53}]  # TCP; the pods listen on UDP 53
""",
    "egress-one-sided": """
egress:
  - to: [{podSelector: {matchLabels: {app: db}}}]  # which allows no client
""",
    "ingress-one-sided": """
ingress:
  - from: [{podSelector: {matchLabels: {app: web}}}]  # which may go nowhere
""",
    "ingress-from-everywhere": """
podSelector: {matchLabels: {app: db}}
ingress:
  - {}
""",
    "egress-to-everywhere": """
policyTypes: [Egress]
egress:
  - {}
""",
    "metadata-open": """
egress:
  - to: [{ipBlock: {cidr: 0.0.0.0/0}}]
""",
    "block-in-cluster": """
ingress:
  - from: [{ipBlock: {cidr: 10.0.0.0/8}}]  # pods have 10.244.0.0/16
""",
    "service-unreachable": """
podSelector: {matchLabels: {app: web}}  # behind a LoadBalancer
ingress:
  - from: [{podSelector: {}}]
""",
    "service-source": """
ingress:  # behind externalTrafficPolicy: Cluster
  - from: [{ipBlock: {cidr: 198.51.100.0/24}}]
""",
    "ingress-unreachable": """
podSelector: {matchLabels: {app: web}}  # to which an Ingress routes
ingress:
  - from: [{podSelector: {}}]  # the controller is in another namespace
""",
    "webhook-unreachable": """
podSelector: {matchLabels: {app: admit}}  # named by a webhook configuration
ingress:
  - from: [{namespaceSelector: {}}]  # the API server is not a pod
""",
    "aggregated-api-unreachable": """
podSelector: {matchLabels: {app: metrics}}  # which an APIService names
ingress:
  - from: [{namespaceSelector: {}}]  # the API server is not a pod
""",
    "metrics-unreachable": """
podSelector: {matchLabels: {k8s-app: metrics-server}}
policyTypes: [Egress]
egress:
  - to: [{namespaceSelector: {}}]  # nodes are no pods
""",
    "no-default-deny-ingress": """
kind: Namespace  # with policies for some of its pods, or with none
metadata: {name: shop}
""",
    "no-default-deny-egress": """
kind: Namespace  # with policies for ingress alone, or with none
metadata: {name: shop}
""",
    "pod-unselected": """
kind: Deployment  # no policy of its namespace selects app: new
spec: {template: {metadata: {labels: {app: new}}}}
""",
    "partial-replicas": """
podSelector: {matchLabels: {app: web, pod-template-hash: 5d89f7c6b}}
""",
    "policy-shadowed": """
ingress:  # another policy for the same pods has from: [{podSelector: {}}]
  - from: [{podSelector: {matchLabels: {app: web}}}]
""",
    "policy-redundant": """
podSelector: {matchLabels: {app: web}}
ingress:  # other policies for the same pods let in app: a and app: b
  - from:
      - podSelector: {matchLabels: {app: a}}
      - podSelector: {matchLabels: {app: b}}
""",
    "policy-types-too-few": """
policyTypes: [Ingress]
egress:
  - to: [{podSelector: {}}]
""",
    "policy-types-too-many": """
podSelector: {}  # without policyTypes
egress:
  - to: [{podSelector: {}}]
""",
    "deny-one-way": """
metadata: {name: deny-all}
spec: {podSelector: {}}
""",
    "cni-differs": """
ingress:  # with --cni calico --cni ovn-kubernetes
  - ports: [{port: http}]
""",
    "cni-not-enforced": """
kind: NetworkPolicy  # with --cni flannel
""",
    "denial-isolates": """
kind: CiliumNetworkPolicy
spec:  # without enableDefaultDeny: {ingress: false}
  endpointSelector: {}
  ingressDeny: [{fromEntities: [world]}]
""",
    "service-missing": """
kind: CiliumNetworkPolicy
egress:  # there is no Service payments
  - toServices: [{k8sService: {serviceName: payments, namespace: shop}}]
    toPorts: [{ports: [{port: "443", protocol: TCP}]}]
""",
    "entity-own-node": """
kind: CiliumNetworkPolicy
ingress: [{fromEntities: [host]}]  # and not remote-node
""",
    "label-unseen": """
podSelector:  # with --cni cilium
  matchLabels: {pod-template-hash: 7d4f9c}
""",
    "kind-ignored": """
kind: AdminNetworkPolicy  # with --cni cilium
""",
    "tier-missing": """
kind: GlobalNetworkPolicy
spec: {tier: security}  # and no Tier security
""",
    "pass-in-last-tier": """
kind: GlobalNetworkPolicy  # of the tier default, the last one
spec: {ingress: [{action: Pass}]}
""",
    "order-tie": """
kind: ClusterNetworkPolicy  # another one of priority 10 accepts the same
spec: {priority: 10, ingress: [{action: Deny}]}
""",
    "baseline-unreached": """
kind: ClusterNetworkPolicy  # NetworkPolicies isolate all pods of it
spec: {tier: Baseline, ingress: [{action: Accept}]}
""",
    "baseline-opens": """
kind: ClusterNetworkPolicy  # --cni cilium; NetworkPolicies isolate its pods
spec: {tier: Baseline, ingress: [{action: Accept}]}
""",
    "annotation-missing": """
metadata: {name: web}  # [lint] required-annotations = ["owner"]
""",
    "suppression": """
metadata:
  annotations:
    kubeverdict.io/lint-disable.metadata-open: ""  # no reason
""",
}
