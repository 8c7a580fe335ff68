"""Selectors of Cilium's policies: which pods and other ends they are about.

A key has a source in front of it (``k8s:``, ``any:``, ``reserved:``), or none, which is any. What
Cilium makes labels of is asked for by keys of its own: the namespace of a pod, the labels of that
namespace, its service account, its cluster. Here they are taken apart into a selector of
pods and one of namespaces.

Ends without labels of Kubernetes (nodes, addresses outside) have labels with the source
``reserved``. A selector that names one is tried on each of these kinds of ends.

Sources: Cilium 1.20.2, pkg/labels, pkg/policy/api/selector.go, pkg/k8s/apis/cilium.io/utils.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from kubeverdict.manifests import fields
from kubeverdict.manifests.findings import DocumentPlace
from kubeverdict.manifests.policies.accounts import pods_of_account
from kubeverdict.manifests.validation import (
    invalid,
    label_key_errors,
    label_value_errors,
    required,
    shape_list,
    shape_object,
    shape_string,
    unsupported,
)
from kubeverdict.model.addresses import Block
from kubeverdict.model.cluster import METADATA_NAME
from kubeverdict.model.policy import (
    ApiServerPeer,
    BlockPeer,
    EndSet,
    ExceptPeer,
    NamedPeer,
    Peer,
    PodPeer,
)
from kubeverdict.model.selectors import NOTHING, Operator, Requirement, Selector
from kubeverdict.model.sources import FieldPath

NAMESPACE = "io.kubernetes.pod.namespace"
_NAMESPACE_LABELS = "io.cilium.k8s.namespace.labels."
CLUSTER = "io.cilium.k8s.policy.cluster"
_ACCOUNT = "io.cilium.k8s.policy.serviceaccount"

_OPERATORS = {
    one.value: one
    for one in (Operator.IN, Operator.NOT_IN, Operator.EXISTS, Operator.DOES_NOT_EXIST)
}
_WANTS = (Operator.IN, Operator.EXISTS)
_is_source = re.compile(r"[a-zA-Z0-9]+([-_.][a-zA-Z0-9]+)*").fullmatch
_OF_PODS = ("", "any", "k8s")


class LabelTerm(NamedTuple):
    """A requirement as it is written: the source of its key, what it asks of the rest, and whether
    it is one of ``matchLabels``."""

    source: str
    asks: Requirement
    is_pair: bool = False

    @property
    def wants(self) -> bool:
        """Whether an end without the label is not meant."""
        return self.asks.operator in _WANTS

    def holds(self, value: str | None) -> bool:
        """Whether a label with this value, or none, is what is asked for."""
        return self.asks.matches({} if value is None else {self.asks.key: value})


class RuleEnds(NamedTuple):
    """Some of the ends that a rule is about; None is any end. ``condition`` says what it depends on
    whether these are meant."""

    peers: tuple[Peer, ...] | None
    condition: str = ""


def read_terms(place: DocumentPlace, value: Any, path: FieldPath) -> list[LabelTerm]:
    """The requirements of a selector; its errors are reported to ``place``."""
    selector = shape_object(place, value, path)
    fields.check(place, selector, path, fields.SELECTOR)
    found: list[LabelTerm] = []
    labels = (*path, "matchLabels")
    for key, raw in shape_object(place, selector.get("matchLabels"), labels).items():
        text = shape_string(place, raw, (*labels, key))
        source, name = _key(place, key, (*labels, key))
        if (source or "any", name) in {(one.source or "any", one.asks.key) for one in found}:
            place.warn((*labels, key), "is asked for twice, and agents keep one of both values")
        if text is not None:
            _check_value(place, text, (*labels, key))
            found.append(LabelTerm(source, Requirement(name, Operator.IN, (text,)), True))
    expressions = (*path, "matchExpressions")
    for index, raw in enumerate(shape_list(place, selector.get("matchExpressions"), expressions)):
        term = _expression(place, raw, (*expressions, index))
        if term is not None:
            found.append(term)
    return found


def _expression(place: DocumentPlace, value: Any, path: FieldPath) -> LabelTerm | None:
    entry = shape_object(place, value, path)
    fields.check(place, entry, path, fields.REQUIREMENT)
    key = shape_string(place, entry.get("key"), (*path, "key"))
    source, name = _key(place, key or "", (*path, "key"))
    values = []
    for index, raw in enumerate(shape_list(place, entry.get("values"), (*path, "values"))):
        text = shape_string(place, raw, (*path, "values", index))
        if text is not None:
            _check_value(place, text, (*path, "values", index))
            values.append(text)
    word = shape_string(place, entry.get("operator"), (*path, "operator"))
    operator = _OPERATORS.get(word or "")
    if operator is None:
        if word is not None:
            place.error((*path, "operator"), unsupported(word, tuple(_OPERATORS)))
        return None
    listed = operator in (Operator.IN, Operator.NOT_IN)
    if listed and not values:
        message = "must be specified when `operator` is 'In' or 'NotIn'"
        place.error((*path, "values"), required(message))
    elif not listed and values:
        message = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
        place.error((*path, "values"), f"Forbidden: {message}")
        values = []
    return LabelTerm(source, Requirement(name, operator, tuple(sorted(set(values)))))


def _key(place: DocumentPlace, key: str, path: FieldPath) -> tuple[str, str]:
    """The source of a key, empty where it has none, and the rest."""
    source, colon, name = key.rpartition(":")
    errors = []
    if ":" in source:
        errors = ["a label key has one source, and so one colon"]
    elif colon and not _is_source(source):
        errors = ["the source of a label key consists of letters and digits"]
    for message in errors or label_key_errors(name):
        place.error(path, invalid(key, message))
    return source, name


def _check_value(place: DocumentPlace, text: str, path: FieldPath) -> None:
    for message in label_value_errors(text):
        place.error(path, invalid(text, message))


class PodTerms(NamedTuple):
    """What a selector asks of pods: of their own labels, of the name and labels of their namespace,
    and of the name of their cluster."""

    pods: Selector
    namespaces: Selector
    clusters: tuple[Requirement, ...]
    names_namespace: bool  # or tests whether there is one
    tells_namespaces: bool  # by their labels


def pod_terms(terms: Iterable[LabelTerm]) -> PodTerms:
    """The parts of a selector, as far as it is about pods. Labels of other sources than Kubernetes
    are none that a pod has."""
    pods: list[Requirement] = []
    accounts: list[Selector] = []
    namespaces: list[Requirement] = []
    clusters: list[Requirement] = []
    names = tells = never = False
    for term in terms:
        asks = term.asks
        if term.source not in _OF_PODS:
            never = never or term.wants
        elif asks.key == NAMESPACE:
            names = True
            namespaces.append(_about(asks, METADATA_NAME))
        elif asks.key.startswith(_NAMESPACE_LABELS):
            tells = True
            namespaces.append(_about(asks, asks.key.removeprefix(_NAMESPACE_LABELS)))
        elif asks.key == CLUSTER:
            clusters.append(asks)
        elif asks.key == _ACCOUNT:
            accounts.append(pods_of_account(asks))
        else:
            pods.append(asks)
    return PodTerms(
        NOTHING if never else Selector.all_of((Selector.of(pods), *accounts)),
        Selector.of(namespaces),
        tuple(clusters),
        names,
        tells,
    )


def _about(asks: Requirement, key: str) -> Requirement:
    return Requirement(key, asks.operator, asks.values)


def endpoints(terms: list[LabelTerm], namespace: str | None) -> list[RuleEnds]:
    """Who a selector of endpoints is about, in a policy of a namespace or of none."""
    if any(term.source == "reserved" for term in terms):
        return _reserved(terms)
    asked = pod_terms(terms)
    if namespace is not None and not asked.names_namespace and not asked.tells_namespaces:
        peer = PodPeer(asked.pods, namespace)
    else:
        peer = PodPeer(asked.pods, None, asked.namespaces)
    return _in_cluster((peer,), asked.clusters)


def _in_cluster(peers: tuple[Peer, ...], clusters: tuple[Requirement, ...]) -> list[RuleEnds]:
    """The pods of the cluster, whose name is not known here: it has one."""
    if any(one.operator is Operator.DOES_NOT_EXIST for one in clusters):
        return []
    named = [one for one in clusters if one.operator is not Operator.EXISTS]
    return [RuleEnds(peers, " and ".join(f"if {cluster_text(one)}" for one in named))]


def cluster_text(asks: Requirement) -> str:
    """What has to hold of the name of the cluster."""
    names = " or ".join(asks.values)
    return f"this cluster is {'' if asks.operator is Operator.IN else 'not '}called {names}"


# -- ends that are no pods ---------------------------------------------------------------------

_FAMILIES = (Block(4, 0, 0), Block(6, 0, 0))
_API_SERVER, _WORLD = "kube-apiserver", "world"
_ONE_FAMILY = "if the agents serve one address family alone"
_BOTH = "if the agents serve both address families"


def _reserved(terms: list[LabelTerm]) -> list[RuleEnds]:
    """Who a selector with labels of the source ``reserved`` is about: no namespace and no cluster
    are added to it."""
    found: list[RuleEnds] = []
    servers = [term for term in terms if term.asks.key == _API_SERVER]
    if servers and (len(terms) > 1 or not servers[0].wants):
        # It has that label beside the one of a node, or of the world.
        text = "if the other end is an API server, or no API server, as a selector asks"
        return [RuleEnds(None, text)]
    kinds = [(name, ends) for name, ends in _KINDS if all(_holds(term, name) for term in terms)]
    if len([name for name, _ in kinds if name.startswith(_WORLD)]) == 3:
        # Whichever of these labels addresses outside have.
        kinds = [(name, ends) for name, ends in kinds if not name.startswith(_WORLD)]
        found.append(RuleEnds((NamedPeer(EndSet.WORLD),)))
    found += (ends for _, ends in kinds)
    if not any(term.wants for term in terms if term.source == "reserved"):
        asked = pod_terms(term for term in terms if term.source != "reserved")
        found += _in_cluster((PodPeer(asked.pods, None, asked.namespaces),), asked.clusters)
    return found


def _holds(term: LabelTerm, label: str) -> bool:
    """Whether an end with one label of the source ``reserved``, and no other, is meant."""
    known = term.asks.key == label and term.source in ("", "any", "reserved")
    return term.holds("" if known else None)


def outside(block: Block, excepts: tuple[Block, ...] = ()) -> Peer:
    """Addresses of a block that are neither pods nor nodes, as every block of Cilium is meant."""
    return ExceptPeer(BlockPeer(block, excepts), (NamedPeer(EndSet.CLUSTER),))


_KINDS = (
    ("host", RuleEnds((NamedPeer(EndSet.HOST),))),
    ("remote-node", RuleEnds((NamedPeer(EndSet.REMOTE_NODE),))),
    (_API_SERVER, RuleEnds((ApiServerPeer(),))),
    (_WORLD, RuleEnds((NamedPeer(EndSet.WORLD),), _ONE_FAMILY)),
    *((f"{_WORLD}-ipv{block.family}", RuleEnds((outside(block),), _BOTH)) for block in _FAMILIES),
)


def subject(terms: list[LabelTerm], namespace: str | None) -> tuple[PodTerms, bool]:
    """What a policy's own selector asks, and whether it can select anything in its namespace: that
    is where it selects, whatever it says of namespaces."""
    if namespace is None:
        return pod_terms(terms), True
    # The policy's own name comes in the place of a pair that is written with this source.
    able = all(
        one.asks.matches({NAMESPACE: namespace})
        for one in terms
        if one.asks.key == NAMESPACE
        and one.source in _OF_PODS
        and not (one.source == "k8s" and one.is_pair)
    )
    return pod_terms(one for one in terms if one.asks.key != NAMESPACE), able
