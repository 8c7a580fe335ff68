"""Connections made up for benchmarks: who talks to whom, as records and as Hubble lines."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from random import Random

from kubeverdict.model.cluster import Cluster, Pod, WorkloadRef
from kubeverdict.model.flows import FlowEnd, FlowRecord, Seen
from kubeverdict.model.ports import Protocol

# A workload has so many partners, most of them at home.
_PARTNERS = 8
_AT_HOME = 0.7
_OUTSIDE = 0.05

_LINE = (
    '{{"flow":{{"time":"2026-09-20T14:{minute:02d}:45.779111730Z","uuid":"{uuid:032x}",'
    '"verdict":"FORWARDED","ethernet":{{"source":"0a:58:0a:01:00:01",'
    '"destination":"0a:58:0a:01:00:02"}},"IP":{{"source":"{from_address}",'
    '"destination":"{to_address}","ipVersion":"IPv4"}},"l4":{{"{protocol}":{{"source_port":38160,'
    '"destination_port":{port},"flags":{{"SYN":true}}}}}},"source":{{"ID":1203,"identity":60176,'
    '"namespace":"{from_namespace}","labels":["k8s:app=one","k8s:io.kubernetes.pod.namespace=two"],'
    '"pod_name":"{from_pod}"}},"destination":{{"identity":222,"namespace":"{to_namespace}",'
    '"labels":["k8s:app=three"],"pod_name":"{to_pod}"}},"Type":"L3_L4","node_name":"n1",'
    '"traffic_direction":"INGRESS","is_reply":{reply}}},"node_name":"n1",'
    '"time":"2026-09-20T14:56:45.779111730Z"}}\n'
)


def records(cluster: Cluster, seed: int = 1) -> Iterator[FlowRecord]:
    """Connections without end, many of them seen before: a pod of a workload and one of the
    workloads that it depends on, on a port that this one has."""
    random = Random(seed)
    workloads: dict[WorkloadRef, list[Pod]] = {}
    at_home: dict[str, list[WorkloadRef]] = {}
    for pod in cluster.pods:
        if pod.workload not in workloads:
            at_home.setdefault(pod.namespace, []).append(pod.workload)
        workloads.setdefault(pod.workload, []).append(pod)
    everyone = list(workloads)
    partners = {
        ref: [
            random.choice(at_home[ref.namespace] if random.random() < _AT_HOME else everyone)
            for _ in range(_PARTNERS)
        ]
        for ref in everyone
    }
    ends = {id(pod): FlowEnd(pod.namespace, pod.name) for pod in cluster.pods}
    while True:
        ref = random.choice(everyone)
        source = ends[id(random.choice(workloads[ref]))]
        if random.random() < _OUTSIDE:
            address = f"203.0.{random.randrange(4)}.{random.randrange(256)}"
            outside = FlowEnd(address=address, outside=True)
            yield FlowRecord(source, outside, Protocol.TCP, 443, Seen.ARRIVED)
            continue
        target = random.choice(partners[ref])
        pod = random.choice(workloads[target])
        if pod.ports:
            port = random.choice(pod.ports)
            yield FlowRecord(source, ends[id(pod)], port.protocol, port.number, Seen.ARRIVED)


def distinct(cluster: Cluster, count: int, seed: int = 1) -> list[FlowRecord]:
    """So many different connections."""
    found: dict[FlowRecord, None] = {}
    for record in records(cluster, seed):
        found[record] = None
        if len(found) == count:
            return list(found)
    raise AssertionError("records never end")


def hubble_file(path: Path, cluster: Cluster, lines: int, seed: int = 1) -> Path:
    """A log of Hubble, a quarter of it replies; made once."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        random = Random(seed)
        addresses = {(pod.namespace, pod.name): pod.addresses[0] for pod in cluster.pods}
        with path.open("w") as out:
            for number, record in enumerate(islice(records(cluster, seed), lines)):
                source, destination = record.source, record.destination
                out.write(
                    _LINE.format(
                        minute=number * 60 // lines,
                        uuid=random.getrandbits(128),
                        from_address=addresses[source.namespace, source.pod],
                        to_address=destination.address
                        or addresses[destination.namespace, destination.pod],
                        protocol=Protocol(record.protocol).name,
                        port=record.port,
                        from_namespace=source.namespace,
                        from_pod=source.pod,
                        to_namespace=destination.namespace,
                        to_pod=destination.pod,
                        reply="true" if number % 4 == 0 else "false",
                    )
                )
    return path
