"""From pods and addresses to endpoint ids."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kubeverdict.compile.addresses import atoms_of_ipv4, atoms_of_ipv6
from kubeverdict.compile.compiled import CompiledPolicy
from kubeverdict.errors import UsageError
from kubeverdict.model.addresses import parse_address
from kubeverdict.model.cluster import Pod, Service

_HALF = (1 << 64) - 1


def pod_id(compiled: CompiledPolicy, pod: Pod) -> int:
    """The endpoint id of a pod; of its address where it uses the network of its node.

    Raises UsageError for a pod that takes no part, with the reason.
    """
    found = compiled.pod_ids.get((pod.namespace, pod.name))
    if found is not None:
        return found
    if pod.host_network and pod.addresses:
        return int(address_ids(compiled, pod.addresses[:1])[0])
    why = next((why for other, why in compiled.excluded if other is pod), "not in this cluster")
    raise UsageError(f"pod {pod} takes no part: {why}")


def service_id(compiled: CompiledPolicy, service: Service) -> int | None:
    """The endpoint id of a Service as an egress peer, where the profile judges it as one."""
    for index, known in enumerate(compiled.services):
        if known is service:
            return compiled.first_service + index
    return None


def address_ids(compiled: CompiledPolicy, addresses: Sequence[str]) -> NDArray[np.int32]:
    """Endpoint ids of addresses, (n,) int32: the pod that has the address, else the host, else
    the interval of address space. Raises UsageError for text that is not an address.

    Where pods share an address, a running one has it.
    """
    owners = _owners(compiled, set(addresses)) if addresses else {}
    out = np.empty(len(addresses), np.int32)
    for index, text in enumerate(addresses):
        known = owners.get(text)
        if known is None:
            address = parse_address(text)
            if address is None:
                raise UsageError(f"{text!r} is not an IP address")
            known = owners.get(str(address))
            if known is None:
                if address.family == 4:
                    atom = atoms_of_ipv4(compiled.addresses, np.array([address.value], np.uint32))
                else:
                    halves = [(address.value >> 64, address.value & _HALF)]
                    atom = atoms_of_ipv6(compiled.addresses, np.array(halves, np.uint64))
                known = compiled.first_atom + int(atom[0])
            owners[text] = known
        out[index] = known
    return out


def _owners(compiled: CompiledPolicy, wanted: set[str]) -> dict[str, int]:
    """Which pod or host has each of the wanted addresses, written the canonical way."""
    wanted = wanted | {str(address) for text in wanted if (address := parse_address(text))}
    owners: dict[str, int] = {}
    running: set[str] = set()
    usable = slice(None) if compiled.profile.dual_stack else slice(1)
    for index, pod in enumerate(compiled.pods):
        for text in pod.addresses[usable]:
            if text in wanted and (text not in owners or text not in running):
                if text not in owners or pod.phase == "Running":
                    owners[text] = index
                if pod.phase == "Running":
                    running.add(text)
    for index, text in enumerate(compiled.hosts):
        if text in wanted:
            owners.setdefault(text, compiled.first_host + index)
    return owners
