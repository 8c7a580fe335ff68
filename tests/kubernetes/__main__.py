"""``./run cluster``: a real Kubernetes on this machine, for tests and to try things out."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import get_args

from tests.kubernetes import control_plane, enclosure, loading, nodes, upstream
from tests.kubernetes.addresses import Family
from tests.kubernetes.api import Api, ApiError
from tests.kubernetes.building import Cluster, Plan
from tests.kubernetes.building import build as build_cluster
from tests.kubernetes.enclosure import Room
from tests.kubernetes.nodes import KubeProxy
from tests.programs.build import BuildFailed, Unavailable, cache, program

FOLDER = cache().parent / "cluster"
_MOST_NODES = 50
_DOWN = "no cluster is up: ./run cluster up"


def main(arguments: list[str]) -> int:
    try:
        # All that follows is kubectl's own.
        if arguments[:1] == ["kubectl"]:
            return kubectl(arguments[1:])
        chosen = _parser().parse_args(arguments)
        status: int = chosen.run(chosen)
        return status
    except (BuildFailed, FileExistsError, RuntimeError, TimeoutError, Unavailable) as error:
        return _fail(str(error))
    except ValueError as error:
        return _fail(str(error))
    except ApiError as error:
        return _fail(f"the API server answers: {error}")
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _fail(f"{where}{error.strerror or error}")
    except KeyboardInterrupt:
        return 130


def build(chosen: argparse.Namespace) -> int:
    for name in (*control_plane.PROGRAMS, *nodes.PROGRAMS):
        print(program(name))
    return 0


def up(chosen: argparse.Namespace) -> int:
    began = time.monotonic()
    plan = Plan(chosen.nodes, chosen.family, chosen.kube_proxy)
    room, api, _ = build_cluster(FOLDER, plan)
    room.release()
    took = time.monotonic() - began
    print(f"up after {took:.1f} s: ./run cluster kubectl get nodes; KUBECONFIG={api.kubeconfig}")
    return 0


def down(chosen: argparse.Namespace) -> int:
    print("down" if enclosure.end(FOLDER) else "nothing was up")
    return 0


def kubectl(arguments: list[str]) -> int:
    room, api = _running()
    command = [str(program("kubectl")), *arguments]
    if api.network is not None:
        command = room.on_network(command)
    environment = {**os.environ, "KUBECONFIG": str(api.kubeconfig)}
    return subprocess.run(command, env=environment).returncode


def load(chosen: argparse.Namespace) -> int:
    _, api = _running()
    objects = [item for path in chosen.files for item in loading.read(path)]
    if not objects:
        return _fail("there are no objects in what was given")
    refused = loading.load(api, objects)
    for refusal in refused:
        print(f"refused: {refusal}", file=sys.stderr)
    print(f"{len(objects) - len({found.name for found in refused})} of {len(objects)} objects")
    return 1 if refused else 0


def status(chosen: argparse.Namespace) -> int:
    _, api = _running()
    version = api.get("/version")
    print(f"{api.address}, Kubernetes {version['major']}.{version['minor']}")
    print(f"KUBECONFIG={api.kubeconfig}")
    for node in api.get("/api/v1/nodes")["items"]:
        states = {state["type"]: state["status"] for state in node["status"].get("conditions", ())}
        ready = "ready" if states.get("Ready") == "True" else "not ready"
        print(f"node {node['metadata']['name']}: {ready}")
    phases = Counter(
        pod.get("status", {}).get("phase", "Pending") for pod in api.get("/api/v1/pods")["items"]
    )
    print(
        "pods:", ", ".join(f"{count} {phase}" for phase, count in sorted(phases.items())) or "none"
    )
    return 0


def e2e(chosen: argparse.Namespace) -> int:
    room, api = _running()
    found = nodes.find(room)
    if not found:
        return _fail("there are no nodes: ./run cluster up --nodes N")
    specs = upstream.run(Cluster(room, api, found), chosen.focus)
    counts = Counter(spec.outcome for spec in specs)
    for spec in specs:
        if spec.outcome != "passed":
            print(f"{spec.outcome}: {spec.name}")
    took = sum(spec.seconds for spec in specs)
    told = ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items()))
    print(f"{len(specs)} specs in {took:.0f} s: {told}")
    return 1 if counts["failed"] else 0


def _running() -> tuple[Room, Api]:
    room = enclosure.find(FOLDER)
    if room is None:
        raise RuntimeError(_DOWN)
    return room, control_plane.api_of(room)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="./run cluster", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)

    def verb(run: object, text: str) -> argparse.ArgumentParser:
        made = verbs.add_parser(getattr(run, "__name__", ""), help=text)
        made.set_defaults(run=run)
        return made

    verb(build, "build the programs, once for this machine")
    made = verb(up, "start etcd, API server, controller manager, scheduler, and nodes")
    made.add_argument("--nodes", type=_count, default=0, metavar="N", help="none without it")
    made.add_argument("--family", choices=get_args(Family), default="dual", help="of addresses")
    made.add_argument("--kube-proxy", choices=get_args(KubeProxy), default="nftables")
    verb(down, "end it; nothing is left")
    verb(status, "what is up")
    # Only here to be shown.
    verbs.add_parser("kubectl", help="kubectl on it; all that follows is kubectl's")
    files = verb(load, "put the objects of dumps into the API server, with their statuses")
    files.add_argument("files", metavar="FILE", nargs="+", type=Path)
    suite = verb(e2e, "upstream's tests of NetworkPolicy against the agent on each node")
    suite.add_argument("--focus", default=upstream.FOCUS, metavar="REGEX", help="which of them")
    return parser


def _count(text: str) -> int:
    number = int(text)
    if not 0 <= number <= _MOST_NODES:
        raise argparse.ArgumentTypeError(f"must be from 0 to {_MOST_NODES}")
    return number


def _fail(text: str) -> int:
    print(f"./run cluster: {text}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
