"""Which pod has each address, followed while pods come and go."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from kubeverdict.compile.sequences import changed
from kubeverdict.model.addresses import parse_address
from kubeverdict.model.cluster import Pod
from kubeverdict_agent.node.endpoints import PodKey


class PodOwners:
    """The pods of one cluster after the other, as seen from ``node``. One thread follows, others
    may ask.

    Where pods share an address, one that runs has it, then one of this node, then the youngest.
    """

    def __init__(self, node: str) -> None:
        self._node = node
        self._pods: Sequence[Pod] = ()
        self._holders: dict[str, Pod | tuple[Pod, ...]] = {}
        self.local: Mapping[PodKey, Pod] = {}  # those of the node
        self.here: Mapping[str, PodKey] = {}  # by address, those that may be on the node

    def follow(self, pods: Sequence[Pod]) -> None:
        """The pods are these now."""
        span = changed(self._pods, pods)
        gone, coming = self._pods[span.start : span.before], pods[span.start : span.after]
        self._pods = pods
        touched: set[str] = set()
        for pod in gone:
            for text in _texts(pod):
                touched.add(text)
                self._hold(text, [one for one in self._held(text) if one is not pod])
        for pod in coming:
            for text in _texts(pod):
                touched.add(text)
                self._hold(text, [*self._held(text), pod])
        here = dict(self.here)
        for text in touched:
            owner = self._owner(text, ("", self._node))
            here.pop(text, None)
            if owner is not None:
                here[text] = owner.namespace, owner.name
        self.here = here
        local = dict(self.local)
        for pod in gone:
            local.pop((pod.namespace, pod.name), None)
        local |= {(pod.namespace, pod.name): pod for pod in coming if pod.node == self._node}
        self.local = local

    def anywhere(self, address: str) -> Pod | None:
        """The pod of the cluster that has an address."""
        return self._owner(address)

    def _owner(self, text: str, nodes: Sequence[str] | None = None) -> Pod | None:
        held = [pod for pod in self._held(text) if nodes is None or pod.node in nodes]
        return max(held, key=self._worth, default=None)

    def _worth(self, pod: Pod) -> tuple[bool, bool, int]:
        return pod.phase == "Running", pod.node == self._node, pod.started

    def _held(self, text: str) -> tuple[Pod, ...]:
        held = self._holders.get(text, ())
        return held if isinstance(held, tuple) else (held,)

    def _hold(self, text: str, pods: list[Pod]) -> None:
        """Mostly an address is that of one pod: then no tuple takes memory."""
        if pods:
            self._holders[text] = pods[0] if len(pods) == 1 else tuple(pods)
        else:
            self._holders.pop(text, None)


def _texts(pod: Pod) -> Iterator[str]:
    for text in pod.addresses:
        address = parse_address(text) if ":" in text else None
        yield str(address) if address else text
