"""What a rule finds, before it is known whether it is to be reported."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from kubeverdict.analyses.findings import Finding, Severity
from kubeverdict.analyses.lint.catalogue import BY_ID
from kubeverdict.analyses.lint.fingerprint import fingerprint, written
from kubeverdict.model import counts
from kubeverdict.model.policy import Policy
from kubeverdict.model.sources import FieldPath, Source

SHOWN = 3  # names of a longer list; the rest is counted

# What a finding about a whole object points at: its first line may be three dashes.
NAME: FieldPath = ("metadata", "name")

ObjectKey = tuple[str, str, str]
"""Kind, namespace ("" where it has none) and name."""

Places = Callable[[ObjectKey], tuple[str, int]]
"""The file and line of an object; ("", 0) where the input does not hold it."""


class Hit(msgspec.Struct, frozen=True, eq=False):
    """A finding whose lines have not been looked up yet.

    It is about ``policy``, at ``source`` (its name where that is None), or about the object
    ``place``; where the input does not hold that one, it is shown at ``nearby``, because CI systems
    refuse what is in no file. ``objects`` come after the one it is about. ``severity``, ``why`` and
    ``fix`` are the rule's unless given. ``key`` distinguishes it from others of its rule at its
    place.
    """

    rule: str
    message: str
    policy: Policy | None = None
    source: Source | None = None
    place: ObjectKey | None = None
    nearby: ObjectKey | None = None
    objects: tuple[str, ...] = ()
    severity: Severity | None = None
    fix: str = ""
    why: str = ""
    key: str = ""

    def finding(self, places: Places) -> Finding:
        rule = BY_ID[self.rule]
        objects = self.objects
        file, line, field = "", 0, ""
        if self.policy is not None:
            source = self.source or inside(self.policy.source, *NAME)
            file, line = source.file, source.line
            objects = (f"{self.policy.kind} {self.policy}", *objects)
            field = written(self.policy, source.path)
        elif self.place is not None:
            file, line = places(self.place)
            if not file and self.nearby is not None:
                file, line = places(self.nearby)
            objects = (named(self.place), *objects)
        about = objects[0] if objects else ""
        return Finding(
            self.rule,
            self.severity or rule.severity,
            self.message,
            file,
            line,
            tuple(dict.fromkeys(objects)),
            self.why or rule.why,
            self.fix or rule.fix,
            about,
            fingerprint((self.rule, about, field, self.key)),
        )


def named(key: ObjectKey) -> str:
    """``Deployment shop/web``, ``Namespace shop``."""
    kind, namespace, name = key
    return f"{kind} {namespace}/{name}" if namespace else f"{kind} {name}"


def inside(source: Source, *path: str | int) -> Source:
    """A field below the one at ``source``."""
    return Source(source.origin, (*source.path, *path))


def peer_field(rule_path: FieldPath, index: int) -> FieldPath:
    """The peer at ``index`` of the rule at ``rule_path``, which says its direction."""
    return (*rule_path, "to" if "egress" in rule_path else "from", index)


def listed(names: Sequence[str]) -> str:
    """Some names, and how many more there are."""
    return counts.listed(names, SHOWN)
