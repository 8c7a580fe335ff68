"""The programs that take part, and how each is started on a node."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.real.site import AgentHost
from tests.cni_programs.starting import FELIX_MODES, start_felix, start_kube_router
from tests.kubernetes.enclosure import Daemon
from tests.programs.build import program

OURS, AUDIT = "kubeverdict", "kubeverdict-audit"


@dataclass(frozen=True)
class RealAgent:
    """``start`` takes a node and the folder of a feed. ``prepare`` is called once for each node."""

    name: str
    title: str
    profile: str
    start: Callable[[AgentHost, Path], Daemon]
    prepare: Callable[[AgentHost], None] = lambda host: None
    enforces: bool = True
    # Reads files that a feed writes, and not the API server.
    fed: bool = False


def _felix(settings: dict[str, str], host: AgentHost, feed: Path) -> Daemon:
    # Calico's manifests have no IPv6 either.
    return start_felix(host, program("calico-felix"), {"FELIX_IPV6SUPPORT": "false", **settings})


def _kube_router(host: AgentHost, feed: Path) -> Daemon:
    return start_kube_router(host, program("kube-router"))


def _ours(mode: str, host: AgentHost, feed: Path) -> Daemon:
    return host.start(
        f"agent-{mode}",
        [
            *(sys.executable, "-m", "kubeverdict_agent", "run"),
            f"--node={host.node}",
            f"--filename={feed}",
            f"--mode=*={mode}",
            "--state=/run/kubeverdict",
            # Files are replaced as a whole, and what is removed is meant.
            "--confirm-after=0",
        ],
    )


def _mount_bpf(host: AgentHost) -> None:
    host.run("mount", "-t", "bpf", "-o", "mode=0700", "bpf", "/sys/fs/bpf")


_FELIX_TITLES = {
    "felix-iptables-legacy": "Felix (iptables-legacy)",
    "felix-iptables-nft": "Felix (iptables-nft)",
    "felix-nftables": "Felix (nftables)",
}

AGENTS: dict[str, RealAgent] = {
    agent.name: agent
    for agent in (
        *(
            RealAgent(name, _FELIX_TITLES[name], "calico", partial(_felix, settings))
            for name, settings in FELIX_MODES.items()
        ),
        RealAgent("kube-router", "kube-router", "kube-router@2.1", _kube_router),
        RealAgent(
            OURS,
            "kubeverdict, enforcing",
            "reference",
            partial(_ours, "enforce"),
            _mount_bpf,
            fed=True,
        ),
        RealAgent(
            AUDIT,
            "kubeverdict, auditing",
            "reference",
            partial(_ours, "audit"),
            _mount_bpf,
            enforces=False,
            fed=True,
        ),
    )
}
