"""Model values as Kubernetes objects: what the API server would answer for a generated cluster.

The opposite of :mod:`kubeverdict.manifests`. Objects carry the weight that real ones have (owner
references, probes, resources, conditions, container statuses), because reading past it is most of
the work of reading a dump. A pod is about 4.7 kB before it is indented.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kubeverdict.model.cluster import Cluster, ContainerPort, Namespace, Node, Pod
from kubeverdict.model.policy import BlockPeer, Direction, Peer, PodPeer, Policy, Rule
from kubeverdict.model.ports import MAX_PORT, NamedPort, PortMatch, PortRange
from kubeverdict.model.selectors import Operator, Selector

Object = dict[str, Any]

_CREATED = "2025-03-01T10:00:00Z"
_STARTED = "2025-03-01T10:00:04Z"
_CONDITIONS = (
    "PodReadyToStartContainers",
    "Initialized",
    "Ready",
    "ContainersReady",
    "PodScheduled",
)


def objects(cluster: Cluster) -> Iterator[Object]:
    """All objects of ``cluster``, made one at a time: a large dump is never held as a whole.

    Raises ValueError for what a generated cluster has no use for and this cannot write.
    """
    if cluster.services:
        raise ValueError("services are not written")
    for namespace in cluster.namespaces:
        yield namespace_object(namespace)
    for node in cluster.nodes:
        yield node_object(node)
    hosts = {node.name: node.addresses[0] for node in cluster.nodes}
    for index, pod in enumerate(cluster.pods):
        yield _pod(pod, index, hosts[pod.node])
    for policy in cluster.policies:
        yield policy_object(policy)


def _uid(kind: int, index: int) -> str:
    return f"{index * 2654435761 % (1 << 32):08x}-{kind:04x}-4000-8000-{index:012x}"


def namespace_object(namespace: Namespace) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "creationTimestamp": _CREATED,
            "labels": dict(namespace.labels),
            "name": namespace.name,
        },
        "spec": {"finalizers": ["kubernetes"]},
        "status": {"phase": "Active"},
    }


def node_object(node: Node) -> Object:
    addresses = [{"address": address, "type": "InternalIP"} for address in node.addresses]
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "creationTimestamp": _CREATED,
            "labels": dict(node.labels),
            "name": node.name,
        },
        "status": {"addresses": [*addresses, {"address": node.name, "type": "Hostname"}]},
    }


# --- pods ------------------------------------------------------------------------------------


def _pod(pod: Pod, index: int, host: str) -> Object:
    image = f"example/{pod.workload.name}:1.2.{index % 97}"
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": _pod_metadata(pod, index),
        "spec": {
            "affinity": _spread_over_nodes(pod),
            "containers": [_container(pod, image, index)],
            "dnsPolicy": "ClusterFirst",
            "enableServiceLinks": True,
            "nodeName": pod.node,
            "preemptionPolicy": "PreemptLowerPriority",
            "priority": 0,
            "restartPolicy": "Always",
            "schedulerName": "default-scheduler",
            "securityContext": {"fsGroup": 1000, "runAsNonRoot": True},
            "serviceAccount": "default",
            "serviceAccountName": "default",
            "terminationGracePeriodSeconds": 30,
            "tolerations": [
                {
                    "effect": "NoExecute",
                    "key": f"node.kubernetes.io/{trouble}",
                    "operator": "Exists",
                    "tolerationSeconds": 300,
                }
                for trouble in ("not-ready", "unreachable")
            ],
            "volumes": [
                {"configMap": {"defaultMode": 420, "name": "config"}, "name": "config"},
                _token_volume(index),
            ],
        },
        "status": {
            "conditions": [
                {
                    "lastProbeTime": None,
                    "lastTransitionTime": _STARTED,
                    "status": "True",
                    "type": condition,
                }
                for condition in _CONDITIONS
            ],
            "containerStatuses": [
                {
                    "containerID": f"containerd://{index:064x}",
                    "image": image,
                    "imageID": f"example/{pod.workload.name}@sha256:{index % 97:064x}",
                    "lastState": {},
                    "name": "main",
                    "ready": True,
                    "restartCount": 0,
                    "started": True,
                    "state": {"running": {"startedAt": _STARTED}},
                }
            ],
            "hostIP": host,
            "hostIPs": [{"ip": host}],
            "phase": pod.phase,
            "podIP": pod.addresses[0],
            "podIPs": [{"ip": address} for address in pod.addresses],
            "qosClass": "Burstable",
            "startTime": _CREATED,
        },
    }


def _pod_metadata(pod: Pod, index: int) -> Object:
    metadata: Object = {
        "annotations": {
            "checksum/config": f"{index * 2654435761:064x}",
            "kubectl.kubernetes.io/restartedAt": _CREATED,
            "prometheus.io/scrape": "true",
        },
        "creationTimestamp": _CREATED,
        "labels": dict(pod.labels),
        "name": pod.name,
        "namespace": pod.namespace,
        "resourceVersion": str(1_000_000 + index),
        "uid": _uid(1, index),
    }
    owner = _owner(pod)
    if owner is not None:
        kind, name = owner
        metadata["generateName"] = f"{name}-"
        metadata["ownerReferences"] = [
            {
                "apiVersion": "apps/v1",
                "blockOwnerDeletion": True,
                "controller": True,
                "kind": kind,
                "name": name,
                "uid": _uid(2, index),
            }
        ]
    return metadata


def _spread_over_nodes(pod: Pod) -> Object:
    return {
        "podAntiAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {
                    "podAffinityTerm": {
                        "labelSelector": {"matchLabels": {"app": pod.workload.name}},
                        "topologyKey": "kubernetes.io/hostname",
                    },
                    "weight": 100,
                }
            ]
        }
    }


def _token_volume(index: int) -> Object:
    return {
        "name": _token_name(index),
        "projected": {
            "defaultMode": 420,
            "sources": [
                {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
                {
                    "configMap": {
                        "items": [{"key": "ca.crt", "path": "ca.crt"}],
                        "name": "kube-root-ca.crt",
                    }
                },
                {
                    "downwardAPI": {
                        "items": [{"fieldRef": _field("metadata.namespace"), "path": "namespace"}]
                    }
                },
            ],
        },
    }


def _token_name(index: int) -> str:
    return f"kube-api-access-{index % 99991:05d}"


def _field(path: str) -> Object:
    return {"apiVersion": "v1", "fieldPath": path}


def _owner(pod: Pod) -> tuple[str, str] | None:
    """Kind and name of the controller that stands above the pod itself."""
    match pod.workload.kind:
        case "Pod":
            return None
        case "Deployment":
            return "ReplicaSet", f"{pod.workload.name}-{pod.labels['pod-template-hash']}"
        case "StatefulSet":
            return "StatefulSet", pod.workload.name
    raise ValueError(f"pods of a {pod.workload.kind} are not written")


def _container(pod: Pod, image: str, index: int) -> Object:
    container: Object = {
        "args": ["--config=/etc/app/config.yaml", "--log-level=info", "--listen=0.0.0.0:8080"],
        "env": [
            *({"name": f"FEATURE_{n}", "value": f"setting-{n}-{index % 17}"} for n in range(7)),
            {"name": "POD_IP", "valueFrom": {"fieldRef": _field("status.podIP")}},
        ],
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "livenessProbe": _probe("/healthz"),
        "name": "main",
        "readinessProbe": _probe("/ready"),
        "resources": {
            "limits": {"cpu": "500m", "memory": "512Mi"},
            "requests": {"cpu": "100m", "memory": "128Mi"},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "volumeMounts": [
            {"mountPath": "/etc/app", "name": "config"},
            {
                "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount",
                "name": _token_name(index),
                "readOnly": True,
            },
        ],
    }
    if pod.ports:
        container["ports"] = [_container_port(port) for port in pod.ports]
    return container


def _probe(path: str) -> Object:
    return {
        "failureThreshold": 3,
        "httpGet": {"path": path, "port": 8080, "scheme": "HTTP"},
        "initialDelaySeconds": 10,
        "periodSeconds": 10,
        "successThreshold": 1,
        "timeoutSeconds": 1,
    }


def _container_port(port: ContainerPort) -> Object:
    return {"containerPort": port.number, "name": port.name, "protocol": port.protocol.name}


# --- policies --------------------------------------------------------------------------------


def policy_object(policy: Policy) -> Object:
    spec: Object = {
        "podSelector": _selector(policy.pods),
        "policyTypes": [direction.word.capitalize() for direction in policy.isolates],
    }
    written = (*policy.rules, *policy.unlisted_rules)
    for direction in Direction:
        rules = [_rule(policy, rule) for rule in written if rule.direction is direction]
        if rules:
            spec[direction.word] = rules
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {
            "creationTimestamp": _CREATED,
            "generation": 1,
            "name": policy.name,
            "namespace": policy.namespace,
        },
        "spec": spec,
    }


def _rule(policy: Policy, rule: Rule) -> Object:
    if () in (rule.peers, rule.ports):
        raise ValueError(f"{policy}: a NetworkPolicy has no rule that matches nothing")
    written: Object = {}
    if rule.peers is not None:
        key = "from" if rule.direction is Direction.INGRESS else "to"
        written[key] = [_peer(policy, peer) for peer in rule.peers]
    if rule.ports is not None:
        written["ports"] = [_port(port) for port in rule.ports]
    return written


def _peer(policy: Policy, peer: Peer) -> Object:
    if isinstance(peer, BlockPeer):
        written: Object = {"cidr": str(peer.block)}
        if peer.excepts:
            written["except"] = [str(part) for part in peer.excepts]
        return {"ipBlock": written}
    if not isinstance(peer, PodPeer):
        raise ValueError(f"{policy}: a NetworkPolicy cannot say {peer}")
    written = {} if peer.pods is None else {"podSelector": _selector(peer.pods)}
    if peer.namespace is None:
        written["namespaceSelector"] = _selector(peer.namespaces)
    elif peer.namespace != policy.namespace:
        raise ValueError(f"{policy}: a NetworkPolicy cannot name namespace {peer.namespace}")
    return written


def _port(port: PortMatch) -> Object:
    written: Object = {"protocol": port.protocol.name}
    if isinstance(port, NamedPort):
        written["port"] = port.name
    elif isinstance(port, PortRange) and (port.first, port.last) != (1, MAX_PORT):
        written["port"] = port.first
        if port.last != port.first:
            written["endPort"] = port.last
    return written


def _selector(selector: Selector) -> Object:
    """In its shortest spelling: one value of one key as matchLabels."""
    labels: dict[str, str] = {}
    expressions = []
    for requirement in selector.requirements:
        values = list(requirement.values)
        if (
            requirement.operator is Operator.IN
            and len(values) == 1
            and requirement.key not in labels
        ):
            labels[requirement.key] = values[0]
            continue
        expression: Object = {"key": requirement.key, "operator": requirement.operator.value}
        if values:
            expression["values"] = values
        expressions.append(expression)
    written: Object = {}
    if labels:
        written["matchLabels"] = labels
    if expressions:
        written["matchExpressions"] = expressions
    return written
