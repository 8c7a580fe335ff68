"""Calico's policies judged once more, from its documents: slow, plain, sharing no code with the
engine.

In: the objects of a cluster as documents. Out: for one direction of a connection, whether it is
allowed, and what decided: a rule (``TIER POLICY rule INDEX``, the policy as Felix names it), the
end of a tier, or the profile of the namespace. It follows what the documentation of Calico, and of
Felix, says of packets; nothing is lowered, and no selector is parsed: an expression becomes one of
Python's.

Every pod has addresses, and is in a namespace that is among the objects.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

Object = Mapping[str, Any]
Labels = Mapping[str, str]

_NUMBERS = {"ICMP": 1, "TCP": 6, "UDP": 17, "ICMPV6": 58, "SCTP": 132, "UDPLITE": 136}
_NAMESPACE = "projectcalico.org/namespace"


# --- selectors -------------------------------------------------------------------------------

_STRING = r"'[^']*'|\"[^\"]*\""
_PART = re.compile(
    rf"has\(\s*(?P<has>[\w./-]+)\s*\)|(?P<all>all\(\s*\))|(?P<global>global\(\s*\))"
    rf"|(?P<label>[\w./-]+)\s*(?P<operator>==|!=|not\s*in|notin|in|contains|starts\s*with|"
    rf"ends\s*with)\s*(?P<value>{_STRING}|\{{[^}}]*\}})"
    rf"|(?P<sign>&&|\|\||!|\(|\))|(?P<space>\s+)"
)
_SIGNS = {"&&": " and ", "||": " or ", "!": " not ", "(": "(", ")": ")"}


def selected(text: str, labels: Labels, everyone: bool = True) -> bool:
    """Whether an expression selects what has these labels; ``everyone``: what all() says."""
    code, at = "", 0
    while at < len(text):
        match = _PART.match(text, at)
        assert match is not None, text[at:]
        at = match.end()
        if match["sign"]:
            code += _SIGNS[match["sign"]]
        elif match["has"]:
            code += str(match["has"] in labels)
        elif match["all"]:
            code += str(everyone)
        elif match["global"]:
            code += str(not everyone)
        elif match["label"]:
            code += str(_compares(labels.get(match["label"]), match["operator"], match["value"]))
    return bool(eval(code)) if code else True


def _compares(have: str | None, operator: str, value: str) -> bool:
    wanted = [one[1:-1] for one in re.findall(_STRING, value)]
    match "".join(operator.split()):
        case "==" | "in":
            return have in wanted
        case "!=" | "notin":
            return have not in wanted
        case "contains":
            return have is not None and wanted[0] in have
        case "startswith":
            return have is not None and have[: len(wanted[0])] == wanted[0]
        case _:
            return have is not None and have[len(have) - len(wanted[0]) :] == wanted[0]


# --- ends ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CalicoEnd:
    """An address, and the pod that has it."""

    address: IPv4Address | IPv6Address
    pod: Object | None


@dataclass(frozen=True)
class Packet:
    source: CalicoEnd
    destination: CalicoEnd
    protocol: str  # a name or a number
    port: int = 0
    icmp_type: int | None = None
    icmp_code: int = 0

    @property
    def number(self) -> int:
        if self.protocol == "ICMP" and self.source.address.version == 6:
            return _NUMBERS["ICMPV6"]
        return _NUMBERS.get(self.protocol.upper(), 0) or int(self.protocol)


class CalicoOracle:
    """Verdicts on the objects of one cluster."""

    def __init__(self, objects: Sequence[Object]) -> None:
        self._of = {
            kind: [one for one in objects if one["kind"] == kind and not _is_usual(one)]
            for kind in {one["kind"] for one in objects}
        }
        self.pods = {_path(one): one for one in self._of.get("Pod", ())}
        self.spaces = {
            one["metadata"]["name"]: one["metadata"].get("labels") or {}
            for one in self._of.get("Namespace", ())
        }
        self._accounts = {
            _path(one): one["metadata"].get("labels") or {}
            for one in self._of.get("ServiceAccount", ())
        }
        tiers = {"default": (1e6, "Deny")}
        for one in self._of.get("Tier", ()):
            spec = one.get("spec") or {}
            order = spec.get("order", 1e6)
            tiers[one["metadata"]["name"]] = (order, spec.get("defaultAction", "Deny"))
        self._tiers = sorted((order, name, end) for name, (order, end) in tiers.items())
        usual = [one for one in objects if one["kind"] == "NetworkPolicy" and _is_usual(one)]
        self._policies = sorted(
            [
                *map(self._own, self._of.get("NetworkPolicy", ())),
                *map(self._own, self._of.get("GlobalNetworkPolicy", ())),
                *map(_of_kubernetes, usual),
            ],
            key=lambda one: (one["order"], one["name"]),
        )

    def end(self, text: str, family: int = 4) -> CalicoEnd:
        """``NAMESPACE/NAME`` of a pod, or an address."""
        pod = self.pods.get(text)
        if pod is not None:
            return CalicoEnd(_address(pod, family), pod)
        address = ip_address(text)
        for one in self.pods.values():
            if text in [each["ip"] for each in one["status"]["podIPs"]]:
                return CalicoEnd(address, one)
        return CalicoEnd(address, None)

    def decides(self, way: str, packet: Packet) -> tuple[bool, str]:
        """Whether a packet passes ``ingress`` at its destination or ``egress`` at its source, and
        what decides."""
        subject = packet.destination if way == "ingress" else packet.source
        for _, tier, end in self._tiers:
            policies = [
                one
                for one in self._policies
                if one["tier"] == tier and way in one["ways"] and self._applies(one, subject)
            ]
            action = ""
            for policy in policies:
                for index, rule in enumerate(policy["spec"].get(way) or ()):
                    found = policy["matches"](self, rule, way, packet)
                    if not action and rule.get("action", "Allow") != "Log" and found:
                        action = rule.get("action", "Allow")
                        by = f"{tier} {policy['name']} rule {index}"
            if action in ("Allow", "Deny"):
                return action == "Allow", by
            if policies and not action and end == "Deny":
                return False, "end of tier"
        return True, "profile"

    # -- policies ------------------------------------------------------------------------------

    def _own(self, one: Object) -> dict[str, Any]:
        spec, head = one.get("spec") or {}, one["metadata"]
        tier = spec.get("tier") or "default"
        name = head["name"] if head["name"].startswith(f"{tier}.") else f"{tier}.{head['name']}"
        space = head.get("namespace")
        ways = [word.lower() for word in spec.get("types") or ()]
        if not ways:
            ways = [word for word in ("ingress", "egress") if spec.get(word)] or ["ingress"]
        order = spec.get("order")
        return {
            "name": f"{space}/{name}" if space else name,
            "space": space,
            "tier": tier,
            "order": float("inf") if order is None else order,
            "ways": ways,
            "spec": spec,
            "matches": CalicoOracle._matches_in(space),
        }

    def _applies(self, policy: Mapping[str, Any], subject: CalicoEnd) -> bool:
        pod, spec = subject.pod, policy["spec"]
        assert pod is not None
        space = pod["metadata"]["namespace"]
        if policy["space"] is not None and policy["space"] != space:
            return False
        if "podSelector" in spec:
            return _kubernetes_selects(spec["podSelector"], pod["metadata"].get("labels") or {})
        labels = self._labels(pod)
        return (
            selected(spec.get("selector", ""), labels)
            and selected(spec.get("namespaceSelector", ""), self._prefixed(labels, "pcns."))
            and selected(spec.get("serviceAccountSelector", ""), self._prefixed(labels, "pcsa."))
        )

    def _labels(self, pod: Object) -> dict[str, str]:
        """All labels that a pod has for Calico."""
        head = pod["metadata"]
        space = head["namespace"]
        account = pod.get("spec", {}).get("serviceAccountName") or "default"
        return {
            **{f"pcns.{key}": value for key, value in self.spaces[space].items()},
            "pcns.projectcalico.org/name": space,
            **{
                f"pcsa.{key}": value
                for key, value in self._accounts.get(f"{space}/{account}", {}).items()
            },
            "pcsa.projectcalico.org/name": account,
            "projectcalico.org/serviceaccount": account,
            "projectcalico.org/orchestrator": "k8s",
            **(head.get("labels") or {}),
            _NAMESPACE: space,
        }

    def _prefixed(self, labels: Labels, prefix: str) -> dict[str, str]:
        return {key[5:]: value for key, value in labels.items() if key.startswith(prefix)}

    # -- rules ---------------------------------------------------------------------------------

    @staticmethod
    def _matches_in(space: str | None) -> Any:
        def matches(self: CalicoOracle, rule: Object, way: str, packet: Packet) -> bool:
            return self._matches(rule, way, packet, space)

        return matches

    def _matches(self, rule: Object, way: str, packet: Packet, space: str | None) -> bool:
        family = packet.source.address.version
        source, destination = rule.get("source") or {}, rule.get("destination") or {}
        nets = [
            ip_network(text)
            for entity in (source, destination)
            for word in ("nets", "notNets")
            for text in entity.get(word) or ()
        ]
        if rule.get("ipVersion", family) != family or {one.version for one in nets} - {family}:
            return False
        wanted, without = rule.get("protocol"), rule.get("notProtocol")
        if wanted is not None and _number(wanted) != packet.number:
            return False
        if without is not None and _number(without) == packet.number:
            return False
        icmp, not_icmp = rule.get("icmp"), rule.get("notICMP")
        if icmp is not None and not _is_icmp(icmp, packet):
            return False
        if not_icmp is not None and "type" in not_icmp and _is_icmp(not_icmp, packet):
            return False
        return self._is_end(source, packet.source, space, packet, None) and self._is_end(
            destination, packet.destination, space, packet, packet.port
        )

    def _is_end(
        self, entity: Object, end: CalicoEnd, space: str | None, packet: Packet, port: int | None
    ) -> bool:
        """Whether an end is one that an entity means; ``port`` is that of the destination."""
        nets, not_nets = (
            [ip_network(text) for text in entity.get(word) or ()] for word in ("nets", "notNets")
        )
        if nets and not any(end.address in one for one in nets):
            return False
        if any(end.address in one for one in not_nets):
            return False
        if entity.get("services") and not self._is_backend(entity["services"], end, packet, port):
            return False
        if not self._is_selected(entity, end, space):
            return False
        if port is None:
            return True
        ports, not_ports = entity.get("ports") or (), entity.get("notPorts") or ()
        listed = any(self._is_port(one, entity, end, space, packet) for one in ports)
        return (not ports or listed) and not any(
            self._is_port(one, entity, end, space, packet) for one in not_ports
        )

    def _is_selected(self, entity: Object, end: CalicoEnd, space: str | None) -> bool:
        """Whether a workload or a network set with this address is selected, and not left out; or
        left out, where nothing else is asked."""
        if self._is_asked_for(entity, space):
            return any(self._selects(entity, labels, space) for labels in self._known_as(end))
        without = entity.get("notSelector")
        return not without or not any(selected(without, one) for one in self._known_as(end))

    def _is_asked_for(self, entity: Object, space: str | None) -> bool:
        accounts = entity.get("serviceAccounts") or {}
        asked = entity.get("selector") or accounts.get("names") or accounts.get("selector")
        spaces = entity.get("namespaceSelector")
        return bool(asked or spaces or (space is not None and entity.get("notSelector")))

    def _selects(self, entity: Object, labels: Labels, space: str | None) -> bool:
        spaces = entity.get("namespaceSelector")
        if spaces:
            inside = selected(spaces, self._prefixed(labels, "pcns."), _NAMESPACE in labels)
        else:
            inside = space is None or labels.get(_NAMESPACE) == space
        accounts = entity.get("serviceAccounts") or {}
        names = accounts.get("names")
        return (
            inside
            and selected(entity.get("selector") or "", labels)
            and (not names or labels.get("projectcalico.org/serviceaccount") in names)
            and selected(accounts.get("selector") or "", self._prefixed(labels, "pcsa."))
            and not (entity.get("notSelector") and selected(entity["notSelector"], labels))
        )

    def _known_as(self, end: CalicoEnd) -> Iterator[Labels]:
        """The labels of the workload at an address, and of each network set that has it."""
        if end.pod is not None:
            yield self._labels(end.pod)
        for kind in ("NetworkSet", "GlobalNetworkSet"):
            for one in self._of.get(kind, ()):
                nets = [ip_network(text, strict=False) for text in one["spec"].get("nets") or ()]
                if any(end.address in net for net in nets):
                    labels = dict(one["metadata"].get("labels") or {})
                    space = one["metadata"].get("namespace")
                    if space:
                        known = self.spaces[space].items()
                        labels = {**{f"pcns.{key}": value for key, value in known}, **labels}
                        labels |= {_NAMESPACE: space, "pcns.projectcalico.org/name": space}
                    yield labels

    def _is_port(
        self, port: Any, entity: Object, end: CalicoEnd, space: str | None, packet: Packet
    ) -> bool:
        if isinstance(port, int):
            return packet.port == port
        if ":" in port:
            first, last = map(int, port.split(":"))
            return bool(first <= packet.port <= last)
        if end.pod is None:
            return False
        if self._is_asked_for(entity, space) and not self._selects(
            entity, self._labels(end.pod), space
        ):
            return False
        return (port, packet.number, packet.port) in _declared(end.pod)

    def _is_backend(
        self, service: Object, end: CalicoEnd, packet: Packet, port: int | None
    ) -> bool:
        for one in self._of.get("EndpointSlice", ()):
            head = one["metadata"]
            named = head["labels"]["kubernetes.io/service-name"]
            if (head["namespace"], named) == (service["namespace"], service["name"]):
                texts = [text for each in one["endpoints"] for text in each["addresses"]]
                served = [(_number(each["protocol"]), each["port"]) for each in one["ports"]]
                if str(end.address) in texts and (
                    port is None or (packet.number, packet.port) in served
                ):
                    return True
        return False


# --- NetworkPolicy, as far as these tests have it --------------------------------------------


def _is_usual(one: Object) -> bool:
    return str(one.get("apiVersion", "")).startswith("networking.k8s.io/")


def _of_kubernetes(one: Object) -> dict[str, Any]:
    space, name = one["metadata"]["namespace"], one["metadata"]["name"]
    return {
        "name": f"{space}/knp.default.{name}",
        "space": space,
        "tier": "default",
        "order": 1000.0,
        "ways": [word.lower() for word in one["spec"]["policyTypes"]],
        "spec": one["spec"],
        "matches": _namespaces_match,
    }


def _namespaces_match(oracle: CalicoOracle, rule: Object, way: str, packet: Packet) -> bool:
    other = packet.source if way == "ingress" else packet.destination
    peers = rule.get("from" if way == "ingress" else "to") or ()
    if not peers:
        return True
    return other.pod is not None and any(
        _kubernetes_selects(
            peer["namespaceSelector"], oracle.spaces[other.pod["metadata"]["namespace"]]
        )
        for peer in peers
    )


def _kubernetes_selects(selector: Object, labels: Labels) -> bool:
    for key, value in (selector.get("matchLabels") or {}).items():
        if labels.get(key) != value:
            return False
    for one in selector.get("matchExpressions") or ():
        if one["operator"] == "NotIn" and labels.get(one["key"]) in one["values"]:
            return False
        if one["operator"] == "DoesNotExist" and one["key"] in labels:
            return False
    return True


# --- words -----------------------------------------------------------------------------------


def _path(one: Object) -> str:
    return f"{one['metadata']['namespace']}/{one['metadata']['name']}"


def _address(pod: Object, family: int) -> IPv4Address | IPv6Address:
    for one in pod["status"]["podIPs"]:
        address = ip_address(one["ip"])
        if address.version == family:
            return address
    raise ValueError(f"{_path(pod)} has no address of IPv{family}")


def _number(protocol: str | int) -> int:
    return protocol if isinstance(protocol, int) else _NUMBERS[protocol.upper()]


def _is_icmp(wanted: Object, packet: Packet) -> bool:
    if "type" not in wanted:
        return True
    return (wanted["type"], wanted.get("code", packet.icmp_code)) == (
        packet.icmp_type,
        packet.icmp_code,
    )


def _declared(pod: Object) -> set[tuple[str, int, int]]:
    """The ports of a pod that have names: name, protocol and number."""
    spec = pod.get("spec") or {}
    containers = [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
    return {
        (port["name"], _NUMBERS[port.get("protocol", "TCP")], port["containerPort"])
        for one in containers
        for port in one.get("ports") or ()
        if port.get("name")
    }
