"""The programs of CNIs that write rules into the kernel, each on a lab of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kubeverdict.model.addresses import Family
from kubeverdict.model.cluster import Cluster
from kubeverdict.model.profile import PROFILES, Profile
from tests.cni_programs.lab import EngineLab, engine_lab
from tests.cni_programs.staging import with_one_name_a_pod
from tests.cni_programs.starting import FELIX_MODES, prepare_felix, start_felix, start_kube_router
from tests.kubernetes.enclosure import Daemon
from tests.programs.build import program


@dataclass(frozen=True)
class Engine:
    """A program in a mode of it, and the profile that shall say what it does."""

    name: str
    profile: Profile
    program: str
    start: Callable[[EngineLab, Path], Daemon]
    # The address families that it has policies for.
    families: tuple[Family, ...] = (4, 6)
    # A generated cluster without what the program decides now so and now otherwise.
    decided: Callable[[Cluster], Cluster] = lambda cluster: cluster
    # Fields of the profile that such clusters do not depend on, or too rarely.
    not_shown: tuple[str, ...] = ()


@dataclass(frozen=True)
class Running:
    """An engine on a lab of its own."""

    engine: Engine
    lab: EngineLab
    daemon: Daemon


@contextmanager
def running(engine: Engine) -> Iterator[Running]:
    """An engine for as long as the block lasts. Raises Unavailable where the program cannot be
    had."""
    path = program(engine.program)
    with engine_lab(engine.name, engine.families) as lab:
        yield Running(engine, lab, engine.start(lab, path))


def _felix(**settings: str) -> Callable[[EngineLab, Path], Daemon]:
    def start(lab: EngineLab, path: Path) -> Daemon:
        prepare_felix(lab.api)
        return start_felix(lab, path, {"FELIX_IPV6SUPPORT": "true", **settings})

    return start


ENGINES = {
    engine.name: engine
    for engine in (
        Engine(
            "felix-iptables-legacy",
            PROFILES["calico"],
            "calico-felix",
            _felix(**FELIX_MODES["felix-iptables-legacy"]),
        ),
        Engine(
            "felix-iptables-nft",
            PROFILES["calico"],
            "calico-felix",
            _felix(**FELIX_MODES["felix-iptables-nft"]),
        ),
        Engine(
            "felix-nftables",
            PROFILES["calico"],
            "calico-felix",
            _felix(**FELIX_MODES["felix-nftables"]),
        ),
        # With both families 2.1.0 writes rules for IPv6 that name sets which it called otherwise:
        # none of them are taken, and often enough none of IPv4's either.
        # Of pods with several names it may give those of one to others (docs/semantics.md).
        Engine(
            "kube-router",
            PROFILES["kube-router@2.1"],
            "kube-router",
            start_kube_router,
            families=(4,),
            decided=with_one_name_a_pod,
            not_shown=("named_port_repeated", "named_port_through_ipblock"),
        ),
    )
}
