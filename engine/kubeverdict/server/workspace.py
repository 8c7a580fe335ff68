"""What the page asks, answered from a session: values that can be written as JSON, or bytes."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import msgspec
from msgspec.structs import replace

from kubeverdict import __version__
from kubeverdict.analyses.explain import explain
from kubeverdict.analyses.lint import DEFAULTS, LintSettings, lint
from kubeverdict.analyses.lint.finding import NAME, ObjectKey
from kubeverdict.analyses.notes import notes
from kubeverdict.analyses.questions import parse_port
from kubeverdict.analyses.reach_map import MapPlaces, ReachMap, cell_ports
from kubeverdict.analyses.unevaluated import sentences
from kubeverdict.analyses.verify.verifying import verify
from kubeverdict.compile.compiled import CompiledPolicy
from kubeverdict.errors import UsageError
from kubeverdict.manifests.assertions import assertions_in
from kubeverdict.manifests.editing import PolicyChange, patch, read_policies, text_of
from kubeverdict.model.cluster import WorkloadRef
from kubeverdict.model.edit import policy_key
from kubeverdict.model.policy import Policy
from kubeverdict.model.sources import Origin, field_text
from kubeverdict.render import render
from kubeverdict.render.json import ports_of
from kubeverdict.render.style import Style
from kubeverdict.server.drafts import Draft, DraftEntry, Judging, check, judged, key_of
from kubeverdict.session.session import Session
from kubeverdict.session.version import Version

Json = dict[str, Any]

MOST_CELLS = 1 << 20  # in one answer

_PLAIN = Style()
# A draft that changes something in most namespaces, to make ready for drafts.
_FIRST = """apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {{name: first, namespace: {}}}
spec: {{podSelector: {{}}, ingress: [{{from: [{{namespaceSelector: {{}}}}]}}]}}
"""


class CellQuestion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A pair of places on the map."""

    source: int
    destination: int
    draft: Draft = ()


class ExplainQuestion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """As the verb ``explain`` takes it; an empty port is none."""

    source: str
    destination: str
    port: str = ""
    draft: Draft = ()


class DraftQuestion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A question about a draft as a whole."""

    draft: Draft = ()


class VerifyQuestion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``assertions`` is the text of a file of assertions."""

    assertions: str
    draft: Draft = ()


@dataclass(frozen=True)
class Inputs:
    """What the page needs besides the session: where objects came from, which rules of lint are
    off, and the text of the assertions that were named, empty for none."""

    origins: Mapping[ObjectKey, Origin] = field(default_factory=dict)
    lint: LintSettings = DEFAULTS
    assertions: str = ""


class Workspace:
    """Answers the page. Threads may share it."""

    def __init__(self, session: Session, inputs: Inputs) -> None:
        self._session = session
        self._inputs = inputs
        self._lock = threading.Lock()
        self._state: _State | None = None

    def prepare(self) -> None:
        """Make what the page asks for first, so that it need not wait."""
        _ = self._now.counts
        # The first draft would wait for what is made when it is first needed, so this is one.
        state = self._now
        text = _FIRST.format(state.places.namespaces[0] or "default")
        for _stage in state.judging.stages((DraftEntry("first", text=text),)):
            pass

    @property
    def _now(self) -> _State:
        """What was made of the cluster as it is now; made anew after it changed."""
        version = self._session.now
        with self._lock:
            if self._state is None or self._state.version.number != version.number:
                self._state = _State(self._session, version)
            return self._state

    def judging(self) -> Judging:
        """What judges drafts against the cluster as it is now."""
        return self._now.judging

    def overview(self) -> Json:
        """The cluster: its workloads in the order of the map, and its policies."""
        state = self._now
        compiled, places = state.version.compiled, state.places
        first = places.first.tolist()
        return {
            "kubeverdict": __version__,
            "version": state.version.number,
            "profile": compiled.profile.name,
            "pods": len(compiled.pods),
            "namespaces": [
                {"name": name, "first": first[number]}
                for number, name in enumerate(places.namespaces)
            ],
            "workloads": [
                [str(ref), _reference(ref), int(pods)]
                for ref, pods in zip(places.workloads, places.pods, strict=True)
            ],
            "policies": [self._listed(policy) for policy in state.policies.values()],
            "assertions": self._inputs.assertions,
            "notes": [*notes(compiled), *sentences(compiled.unevaluated)],
        }

    def _listed(self, policy: Policy) -> Json:
        source = policy.source
        return {
            "key": key_of(policy.kind, str(policy)),
            "kind": policy.kind,
            "namespace": policy.namespace or "",
            "name": policy.name,
            "file": source.file,
        }

    def counts(self) -> bytes:
        """Cells between namespaces, as (4, namespaces, namespaces) little-endian uint32: by rule,
        unprotected, conditional, and all there are; source by destination."""
        counts = self._now.counts
        parts = (counts.by_rule, counts.unprotected, counts.conditional, counts.possible)
        return b"".join(part.astype("<u4").tobytes() for part in parts)

    def cells(self, sources: tuple[int, int], destinations: tuple[int, int]) -> bytes:
        """The states of a rectangle of the map, a byte each; see ``CellState``."""
        size = self._now.places.size
        for low, high in (sources, destinations):
            if not 0 <= low < high <= size:
                raise UsageError(f"the map has places 0 to {size - 1}")
        if (sources[1] - sources[0]) * (destinations[1] - destinations[0]) > MOST_CELLS:
            raise UsageError(f"at most {MOST_CELLS:,} cells are told at once")
        return self._now.map.cells(sources, destinations).tobytes()

    def cell(self, question: CellQuestion) -> Json:
        """The ports of one cell, and by which names and port to ask why."""
        state = self._now
        places = state.places
        ends = question.source, question.destination
        if not all(0 <= end < places.size for end in ends):
            raise UsageError(f"the map has places 0 to {places.size - 1}")
        compiled = judged(self._session, question.draft)
        found = cell_ports(compiled, places, *ends)
        return {
            "ports": [
                {"family": f"IPv{family}" if family else "", "ports": ports_of(ports)}
                for family, ports in found.items()
            ],
            "ask": _ports_of_containers(compiled, places, question.destination),
        }

    def policy(self, key: str) -> Json:
        """The text of a policy to edit, and at which line of it each rule is."""
        policy = self._now.policies.get(key)
        if policy is None:
            raise UsageError(f"there is no policy {key}")
        text = self._text(policy)
        lines: dict[str, int] = {}
        subject = 1
        if text:
            for one in read_policies({key: text}).cluster.policies:
                subject = one.source.origin.line_of((*one.source.path, *one.subject_field))
                for rule in (*one.rules, *one.unlisted_rules):
                    lines.setdefault(field_text(rule.source.path), rule.source.line)
        source = policy.source
        found = self._now.judging.selected(policy)
        return {
            "key": key,
            "text": text,
            "file": source.file,
            "line": source.line,
            "lines": lines,
            "selected": [
                replace(
                    one,
                    file=key,
                    line=subject,
                    rules=tuple(replace(rule, line=lines.get(rule.field, 1)) for rule in one.rules),
                )
                for one in found
            ],
        }

    def _text(self, policy: Policy) -> str:
        origin = self._inputs.origins.get(policy_key(policy))
        return text_of(policy.kind, origin) if origin is not None else ""

    def explain(self, question: ExplainQuestion) -> Json:
        """The report of ``explain``."""
        port = parse_port(question.port) if question.port else None
        compiled = judged(self._session, question.draft)
        report = explain(compiled, question.source, question.destination, port)
        return _report("explain", report)

    def lint(self, question: DraftQuestion) -> Json:
        """The report of ``lint``."""

        def place(key: ObjectKey) -> tuple[str, int]:
            origin = self._inputs.origins.get(key)
            return (origin.file, origin.line_of(NAME)) if origin else ("", 0)

        compiled = judged(self._session, question.draft)
        return _report("lint", lint(compiled, place, self._inputs.lint))

    def verify(self, question: VerifyQuestion) -> Json:
        """The report of ``verify``."""
        assertions = assertions_in("assertions", question.assertions)
        return _report("verify", verify(judged(self._session, question.draft), assertions))

    def patch(self, question: DraftQuestion) -> Json:
        """A draft as a unified diff."""
        check(question.draft)
        changes = []
        for entry in question.draft:
            policy = self._now.policies.get(entry.replaces)
            if entry.replaces and policy is None:
                raise UsageError(f"there is no policy {entry.replaces}")
            origin = self._inputs.origins.get(policy_key(policy)) if policy is not None else None
            kind = policy.kind if policy is not None else ""
            name = f"{entry.replaces or entry.name}.yaml"
            changes.append(PolicyChange(kind, name, origin, entry.text))
        return {"patch": patch(changes)}


class _State:
    """What was made of one version of the cluster, and is asked for again and again."""

    def __init__(self, session: Session, version: Version) -> None:
        self.version = version
        self._session = session
        self.policies = {
            key_of(policy.kind, str(policy)): policy
            for policy in sorted(
                version.compiled.cluster.policies,
                key=lambda one: (one.namespace or "", one.kind, one.name),
            )
        }
        self.places = MapPlaces(version.compiled)

    @cached_property
    def map(self) -> ReachMap:
        return ReachMap(self.version.compiled, self.places)

    @cached_property
    def counts(self) -> Any:
        return self.map.counts()

    @cached_property
    def judging(self) -> Judging:
        return Judging(self._session, self.version, self.places)


def _reference(ref: WorkloadRef) -> str:
    """A workload as ``explain`` takes it."""
    return f"{ref.kind.lower()}/{ref.namespace}/{ref.name}"


def _ports_of_containers(compiled: CompiledPolicy, places: MapPlaces, place: int) -> list[Json]:
    """The ports that containers of the pods at a place declare."""
    found = {
        (port.number, port.protocol.name, port.name)
        for number in (places.of_pod == place).nonzero()[0].tolist()
        for port in compiled.pods[number].ports
    }
    return [
        {"port": f"{number}/{protocol}", "name": name} for number, protocol, name in sorted(found)
    ]


def _report(verb: str, report: object) -> Json:
    """A report as the verb writes it with ``-o json``."""
    found: Json = json.loads(render(verb, "json", report, _PLAIN))
    return found
