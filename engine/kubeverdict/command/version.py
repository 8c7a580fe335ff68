"""The option ``--version``: what runs here, for bug reports."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from typing import Any

import click

from kubeverdict import __version__
from kubeverdict.command.failures import write_out

# What answers depend on, then what is there for some verbs only.
NEEDED = ("numpy", "numba", "llvmlite", "msgspec", "rapidyaml", "PyYAML", "click")
OPTIONAL = ("distributed", "pyarrow", "pyroute2", "prometheus-client", "bcc")
# bcc comes with the distribution, for its own Python.
_SYSTEM = "/usr/lib/python3/dist-packages"


def version_option(command: Any) -> Any:
    """``--version``, for a group."""
    return click.option(
        "--version",
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_show,
        help="Show the versions of this and of what it uses, and exit.",
    )(command)


def _show(context: click.Context, option: click.Parameter, wanted: bool) -> None:
    if not wanted or context.resilient_parsing:
        return
    lines = [f"{context.info_name} {__version__}", *_lines()]
    write_out("".join(f"{line}\n" for line in lines))
    context.exit()


def _lines() -> Iterator[str]:
    machine = f"{platform.python_implementation()}, {platform.system()} {platform.machine()}"
    yield f"{'Python':18} {platform.python_version()} ({machine})"
    for name in (*NEEDED, *OPTIONAL):
        found = _version(name)
        if found or name in NEEDED:
            yield f"{name:18} {found or 'not installed'}"


def _version(name: str) -> str:
    """The version of a package; empty where it is not installed. It is not imported."""
    from importlib.metadata import PackageNotFoundError, distributions, version

    if name == "bcc":
        found = next(iter(distributions(name=name, path=[_SYSTEM])), None)
        return found.version if found is not None else ""
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
