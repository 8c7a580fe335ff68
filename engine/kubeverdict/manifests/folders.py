"""Which files of a folder are manifests.

Everything that ends in ``.yaml``, ``.yml`` or ``.json`` is, below it too, but for what is not meant
to be read as it is. Passed over and reported: hidden files and folders, packages of other programs,
what git ignores, pipes and devices. An error, because leaving it out could change any verdict: Helm
charts, whose templates have to be rendered, and kustomizations that change what the files of their
folder say. A kustomization that only lists files of the folder changes nothing, so its files are
read.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from kubeverdict.errors import Problem
from kubeverdict.manifests import git, kustomize, templates
from kubeverdict.manifests.findings import Findings
from kubeverdict.manifests.kustomize import Kustomization

SUFFIXES = (".json", ".yaml", ".yml")

HIDDEN = "hidden"
IGNORED = "ignored by git"
PACKAGES = "packages"
SPECIAL = "no plain file"
_PACKAGES = frozenset({"__pycache__", "node_modules"})
# So many kustomizations are named in an error.
_NAMED = 3


def manifests(folder: str, findings: Findings) -> Iterator[str]:
    """The manifests of ``folder`` and below it, folders in order of name. What is passed over
    and what is an error goes to ``findings``."""
    chart = templates.chart_above(folder)
    if chart is not None and _report_chart(chart, findings):
        return
    ignored = git.ignored(folder)
    unbuilt: list[Kustomization] = []

    def unreadable(error: OSError) -> None:
        name = os.fspath(error.filename or folder)
        findings.fatal.append(Problem(name, 0, "", f"cannot be read: {error.strerror}"))

    def is_wanted(parent: str, name: str) -> bool:
        path = os.path.join(parent, name)
        if name == ".git":
            return False
        if name.startswith("."):
            reason = HIDDEN
        elif name in _PACKAGES:
            reason = PACKAGES
        elif os.path.relpath(path, folder) in ignored:
            reason = IGNORED
        elif name.lower().endswith(SUFFIXES) and _is_special(path):
            reason = SPECIAL
        else:
            return True
        findings.passed_over.setdefault(reason, []).append(path)
        return False

    for parent, folders, files in os.walk(folder, onerror=unreadable):
        folders[:] = [name for name in sorted(folders) if is_wanted(parent, name)]
        for name in set(files).intersection(kustomize.FILES):
            found = kustomize.read(os.path.join(parent, name), SUFFIXES, folder)
            if found is not None:
                files.remove(name)
                if found.changes:
                    unbuilt.append(found)
                    folders.clear()
                    files.clear()
        if templates.CHART in files and _report_chart(parent, findings):
            # The other files of a chart are values and the like.
            folders[:] = [name for name in folders if name not in templates.PARTS]
            files.clear()
        for name in sorted(files):
            if name.lower().endswith(SUFFIXES) and is_wanted(parent, name):
                yield os.path.join(parent, name)
    _report_unbuilt(unbuilt, findings)


def report_kustomization(path: str, findings: Findings) -> bool:
    """Report a kustomization that was itself named; returns whether the file is one."""
    if os.path.basename(path) not in kustomize.FILES or not os.path.isfile(path):
        return False
    found = kustomize.read(path, SUFFIXES, os.path.dirname(path))
    if found is None:
        return False
    message = f"is a kustomization, not a manifest: {kustomize.build(found.folder)}"
    findings.errors.append(Problem(path, found.line or 1, "", message))
    return True


def _report_chart(chart: str, findings: Findings) -> bool:
    """Report the chart in a folder where its templates have to be rendered; returns whether they
    have to."""
    found = list(templates.in_chart(chart))
    if not found:
        return False
    path, line = found[0]
    others = len(found) - 1
    more = f", as are {others} more of its files" if others > 1 else ""
    more = ", as is 1 more of its files" if others == 1 else more
    message = f"is a template of the Helm chart {chart}{more}: {templates.render(chart)}"
    findings.errors.append(Problem(path, line, "", message))
    return True


def _report_unbuilt(unbuilt: list[Kustomization], findings: Findings) -> None:
    """One error for all kustomizations of a folder, as mostly one of them is meant."""
    if not unbuilt:
        return
    first, *others = unbuilt
    message = f"this kustomization changes what its files say ({first.changes})"
    if others:
        names = ", ".join(other.folder for other in others[:_NAMED])
        rest = len(others) - _NAMED
        message += f", and so do those in {names}{f' and {rest} more' if rest > 0 else ''}"
    message += f": {kustomize.build(first.folder)}"
    findings.errors.append(Problem(first.path, first.line, "", message))


def _is_special(path: str) -> bool:
    """Whether a file is a pipe, a device or a socket, that reading might wait for for ever."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False  # opening it says why
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))
