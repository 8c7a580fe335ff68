"""What clusters commonly run, as distributions and charts name it.

In order: where a cluster has several, the first that is there is meant.
"""

from __future__ import annotations

from typing import Final

from kubeverdict.model.ports import Protocol

DNS_PORT: Final = 53
DNS_PROTOCOLS: Final = (Protocol.UDP, Protocol.TCP)
# (namespace, name) of the Service that everybody asks.
DNS_SERVICES: Final = (
    ("kube-system", "kube-dns"),
    ("kube-system", "coredns"),
    ("kube-system", "rke2-coredns-rke2-coredns"),
    ("openshift-dns", "dns-default"),
)
# Labels of the pods behind it.
DNS_LABELS: Final[tuple[dict[str, str], ...]] = (
    {"k8s-app": "kube-dns"},
    {"dns.operator.openshift.io/daemonset-dns": "default"},
)
# The cache on the node listens on an address of its own and on the network of the node.
NODE_LOCAL_LABELS: Final = {"k8s-app": "node-local-dns"}
NODE_LOCAL_ADDRESS: Final = "169.254.20.10"

# Labels that say what a pod is, and their values for ingress controllers.
NAME_KEYS: Final = ("app.kubernetes.io/name", "app", "k8s-app", "name")
INGRESS_CONTROLLERS: Final = (
    *("ingress-nginx", "nginx-ingress", "traefik", "haproxy-ingress", "kubernetes-ingress"),
    *("envoy", "contour", "kong", "istio-ingressgateway", "ambassador", "emissary-ingress"),
)

# Where the API server is, and who passes its connections on into the cluster.
API_SERVER_SERVICE: Final = ("default", "kubernetes")
API_SERVER_LABELS: Final = {"component": "kube-apiserver"}
API_SERVER_TUNNEL_LABELS: Final = {"k8s-app": "konnectivity-agent"}
CONTROL_PLANE_NODE_LABELS: Final = frozenset(
    {"node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master"}
)
METRICS_SERVER: Final = "metrics-server"
KUBELET_PORT: Final = 10250
