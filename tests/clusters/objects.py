"""Generated clusters as Kubernetes objects, with no more in them than policies look at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bench.kubernetes import Object, namespace_object, node_object, policy_object
from kubeverdict.model.cluster import Cluster, ContainerKind, ContainerPort, Pod


def objects(cluster: Cluster) -> Iterator[Object]:
    """Namespaces, nodes, pods and policies. Raises ValueError for a policy that no NetworkPolicy
    can be."""
    for namespace in cluster.namespaces:
        yield namespace_object(namespace)
    for node in cluster.nodes:
        yield node_object(node)
    for pod in cluster.pods:
        yield pod_object(pod)
    for policy in cluster.policies:
        yield policy_object(policy)


def pod_object(pod: Pod) -> Object:
    spec: Object = {"containers": [{"name": "main", "image": "example"}], "initContainers": []}
    if pod.host_network:
        spec["hostNetwork"] = True
    if pod.node:
        spec["nodeName"] = pod.node
    # One container each: a container may have a name of a port only once, a pod several times.
    for number, port in enumerate(pod.ports):
        container = {"name": f"c{number}", "image": "example", "ports": [_port(port)]}
        if port.container is ContainerKind.CONTAINER:
            spec["containers"].append(container)
        else:
            always = {"restartPolicy": "Always"} if port.container is ContainerKind.SIDECAR else {}
            spec["initContainers"].append({**container, **always})
    status: dict[str, Any] = {"phase": pod.phase} if pod.phase else {}
    if pod.addresses:
        status["podIP"] = pod.addresses[0]
        status["podIPs"] = [{"ip": address} for address in pod.addresses]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"namespace": pod.namespace, "name": pod.name, "labels": dict(pod.labels)},
        "spec": spec,
        "status": status,
    }


def _port(port: ContainerPort) -> Object:
    written: Object = {"containerPort": port.number, "protocol": port.protocol.name}
    return {**written, "name": port.name} if port.name else written
