"""The lab makes real networks, keeps to itself and leaves nothing behind."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.lab import Lab, LabPod, Layout, clean, missing

pytestmark = pytest.mark.skipif(missing() is not None, reason=str(missing()))

LAYOUTS: tuple[Layout, ...] = ("routed", "bridged")
NETNS = Path("/var/run/netns")


@pytest.fixture(params=LAYOUTS)
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    with Lab(layout=request.param) as lab:
        yield lab


@pytest.fixture
def pair(lab: Lab) -> tuple[LabPod, LabPod]:
    web = lab.add_pod("shop", "web", ipv4="10.1.0.2", ipv6="fd00:1::2")
    client = lab.add_pod("shop", "client", ipv4="10.1.0.3", ipv6="fd00:1::3")
    web.serve(8080)
    return web, client


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_pods_reach_each_other_over_both_families(
    pair: tuple[LabPod, LabPod], protocol: str
) -> None:
    web, client = pair
    for address in web.addresses:
        assert client.reaches(address, 8080, protocol, timeout=30)  # type: ignore[arg-type]
    assert not client.reaches("10.1.0.2", 8081, protocol, timeout=0.2)  # type: ignore[arg-type]


def test_the_node_reaches_pods_from_its_own_address(lab: Lab, pair: tuple[LabPod, LabPod]) -> None:
    for address, node in (("10.1.0.2", lab.node_ipv4), ("fd00:1::2", lab.node_ipv6)):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET

        def own_address(family: int = family, address: str = address) -> str:
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                probe.settimeout(30)
                probe.connect((address, 8080))
                return str(probe.getsockname()[0])

        assert lab.on_node(own_address) == node


def test_traffic_of_pods_passes_the_node(lab: Lab, pair: tuple[LabPod, LabPod]) -> None:
    """Over a bridge too: br_netfilter shows it to iptables, as kube-router counts on."""
    _, client = pair
    assert client.reaches("10.1.0.2", 8080, timeout=30)
    lab.run(["iptables-legacy-restore"], input="*filter\n-A FORWARD -p tcp -j DROP\nCOMMIT\n")
    assert not client.reaches("10.1.0.2", 8080, timeout=0.3)
    assert client.reaches("10.1.0.2", 8080, "udp", timeout=30)


def test_commands_and_sockets_belong_to_their_pod(pair: tuple[LabPod, LabPod]) -> None:
    web, client = pair
    assert "10.1.0.2/" in web.run(["ip", "-4", "addr", "show", "dev", "eth0"]).stdout
    with client.socket(socket.AF_INET, socket.SOCK_STREAM) as own:
        own.bind(("10.1.0.3", 0))
    with pytest.raises(RuntimeError, match="status 3"):
        web.run(["sh", "-c", "exit 3"])
    inodes = {pod.call(lambda: os.stat("/proc/thread-self/ns/net").st_ino) for pod in pair}
    assert len(inodes) == 2 and os.stat("/proc/self/ns/net").st_ino not in inodes


def test_a_pod_goes_and_comes_back(lab: Lab, pair: tuple[LabPod, LabPod]) -> None:
    web, client = pair
    index = lab.host_ifindex(web)
    lab.delete_pod(web)
    assert not client.reaches("10.1.0.2", 8080, timeout=0.2)
    with pytest.raises(OSError):
        lab.on_node(lambda: socket.if_nametoindex(web.host_ifname))
    again = lab.add_pod("shop", "web", ipv4="10.1.0.2", ipv6="fd00:1::2")
    again.serve(8080)
    assert client.reaches("10.1.0.2", 8080, timeout=30)
    assert lab.host_ifindex(again) != index


def test_a_renamed_link_still_carries_traffic(lab: Lab, pair: tuple[LabPod, LabPod]) -> None:
    web, client = pair
    index = lab.host_ifindex(web)
    lab.rename_link(web, "kvother")
    assert lab.host_ifindex(web) == index
    for address in web.addresses:
        assert client.reaches(address, 8080, timeout=30)


def test_the_world_outside_is_behind_the_node(lab: Lab, pair: tuple[LabPod, LabPod]) -> None:
    web, client = pair
    outside = lab.add_outside("203.0.113.9", "2001:db8::9")
    outside.serve(443)
    for address in ("203.0.113.9", "2001:db8::9"):
        assert client.reaches(address, 443, timeout=30)
    for address in web.addresses:
        assert outside.reaches(address, 8080, timeout=30)


def test_a_name_is_given_once(lab: Lab, pair: tuple[LabPod, LabPod]) -> None:
    with pytest.raises(ValueError, match="shop/web is in the lab already"):
        lab.add_pod("shop", "web", ipv4="10.1.0.9")


def test_nothing_is_left_after_a_failure() -> None:
    with pytest.raises(ZeroDivisionError), Lab() as lab:
        pod = lab.add_pod("shop", "web", ipv4="10.1.0.2")
        process = pod.start(["sleep", "600"])
        prefix = lab.prefix
        raise ZeroDivisionError
    assert process.poll() is not None
    assert not list(NETNS.glob(f"{prefix}-*"))
    root = subprocess.run(["ip", "link"], capture_output=True, text=True, check=True).stdout
    assert pod.host_ifname not in root


def test_what_a_crash_left_is_removed() -> None:
    crash = (
        "import os, signal\n"
        "from bench.lab import Lab\n"
        "with Lab() as lab:\n"
        "    lab.add_pod('shop', 'web', ipv4='10.1.0.2')\n"
        "    print(lab.prefix, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    root = Path(__file__).parents[2]
    died = subprocess.run([sys.executable, "-c", crash], capture_output=True, text=True, cwd=root)
    prefix = died.stdout.strip()
    assert prefix, died.stderr
    # Another test's lab may have cleaned up in between; what counts is that it is gone.
    clean()
    assert not list(NETNS.glob(f"{prefix}-*"))
