"""What happens to traffic that policy denies: nothing (off), a report (audit), a drop (enforce).

A setting is ``SUBJECT=MODE``: ``*=audit``, ``shop=enforce`` (a namespace) or ``shop/web=off`` (a
workload, or a single pod). The more specific one wins. The same lines are read from a file, from
the command line and from what was set while the agent ran, the later in place of the earlier.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kubeverdict.compile.sequences import changed
from kubeverdict.errors import InputError, Problem, UsageError
from kubeverdict.model.cluster import Pod
from kubeverdict_agent.datapath.layout import Mode

ANY = "*"
UNSET = "unset"
DEFAULT = Mode.AUDIT

WORDS: dict[str, Mode] = {mode.name.lower(): mode for mode in Mode}


@dataclass(frozen=True)
class Modes:
    """Settings by subject."""

    settings: Mapping[str, Mode] = field(default_factory=dict)

    def of(self, pod: Pod) -> Mode:
        """The mode of a pod."""
        namespace = pod.namespace
        names = (f"{namespace}/{pod.name}", f"{namespace}/{pod.workload.name}", namespace, ANY)
        return next(
            (self.settings[name] for name in names if name in self.settings),
            DEFAULT,
        )

    def over(self, other: Modes) -> Modes:
        """These settings, and where they say nothing those of ``other``."""
        return Modes({**other.settings, **self.settings})

    def lines(self) -> list[str]:
        return [f"{subject}={mode.name.lower()}" for subject, mode in sorted(self.settings.items())]


class EnforcedPods:
    """Which pods of one cluster after the other are enforced."""

    def __init__(self) -> None:
        self._of: tuple[Sequence[Pod], Modes] = ((), Modes())
        self._made = np.zeros(0, np.bool_)

    def of(self, pods: Sequence[Pod], modes: Modes) -> NDArray[np.bool_]:
        """(pods,); the modes of pods that were there before are not looked at again."""
        before, under = self._of
        if modes != under:
            before, self._made = (), self._made[:0]
        span = changed(before, pods)
        coming = pods[span.start : span.after]
        if Mode.ENFORCE in modes.settings.values():
            found = (modes.of(pod) is Mode.ENFORCE for pod in coming)
            new = np.fromiter(found, np.bool_, len(coming))
        else:
            new = np.zeros(len(coming), np.bool_)
        self._made = np.concatenate((self._made[: span.start], new, self._made[span.before :]))
        self._of = (pods, modes)
        return self._made


def parse_setting(text: str) -> tuple[str, Mode | None]:
    """``SUBJECT=MODE``; the mode is None for ``unset``. Raises UsageError."""
    subject, equals, word = (part.strip() for part in text.partition("="))
    parts = subject.split("/")
    if not equals or not subject or len(parts) > 2 or not all(parts):
        raise UsageError(
            f"{text!r} is not a setting: write NAMESPACE=MODE, NAMESPACE/WORKLOAD=MODE"
        )
    if ANY in subject and subject != ANY:
        raise UsageError(f"{text!r}: {ANY} stands alone, for everything")
    if word == UNSET:
        return subject, None
    if word not in WORDS:
        raise UsageError(f"{text!r}: {word!r} is not a mode: {', '.join(WORDS)}")
    return subject, WORDS[word]


def parse(texts: Iterable[str]) -> Modes:
    """Settings from a command line. Raises UsageError."""
    settings: dict[str, Mode] = {}
    for text in texts:
        subject, mode = parse_setting(text)
        if mode is None:
            settings.pop(subject, None)
        else:
            settings[subject] = mode
    return Modes(settings)


def read(path: Path) -> Modes:
    """Settings from a file, one a line; ``#`` begins a comment. A file that is not there holds
    none. Raises InputError that names every line that is wrong."""
    try:
        text = path.read_text()
    except FileNotFoundError:
        return Modes()
    except (OSError, UnicodeError) as error:
        raise InputError([Problem(str(path), 0, "", f"cannot be read: {error}")]) from error
    problems: list[Problem] = []
    settings: dict[str, Mode] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        line = line.partition("#")[0].strip()
        if not line:
            continue
        try:
            subject, mode = parse_setting(line)
        except UsageError as error:
            problems.append(Problem(str(path), number, "", str(error)))
            continue
        if mode is not None:
            settings[subject] = mode
    if problems:
        raise InputError(problems)
    return Modes(settings)


def write(path: Path, modes: Modes) -> None:
    """Keep settings for the next agent; readers see the old file or the new one."""
    new = path.with_name(f"{path.name}.new")
    new.write_text("".join(f"{line}\n" for line in modes.lines()))
    os.replace(new, path)


def unmatched(modes: Modes, pods: Sequence[Pod]) -> list[str]:
    """Subjects that are no pod, workload or namespace of the cluster: perhaps misspelt."""
    missing = set(modes.settings) - {ANY}
    for pod in pods:
        if not missing:
            break
        missing.discard(pod.namespace)
        if any("/" in subject for subject in missing):
            missing -= {f"{pod.namespace}/{pod.name}", f"{pod.namespace}/{pod.workload.name}"}
    return sorted(missing)
