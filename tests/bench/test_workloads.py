"""Clusters by name: the same each time, written once, and loadable by kubeverdict itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from bench.shapes import SHAPES
from bench.workloads import cluster, dump_file, main

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("shape", sorted(SHAPES))
def test_a_seed_gives_the_same_cluster_each_time(shape: str, tmp_path: Path) -> None:
    one = dump_file(tmp_path / "one", shape, 200, seed=7).read_bytes()
    two = dump_file(tmp_path / "two", shape, 200, seed=7).read_bytes()
    assert one == two


@pytest.mark.parametrize("shape", sorted(set(SHAPES) - {"antrea"}))
def test_another_seed_gives_another_cluster(shape: str, tmp_path: Path) -> None:
    one = dump_file(tmp_path, shape, 200, seed=7)
    two = dump_file(tmp_path, shape, 200, seed=8)
    assert one.read_bytes() != two.read_bytes()


def test_a_dump_is_written_once(tmp_path: Path) -> None:
    path = dump_file(tmp_path, "dense", 50)
    before = path.stat()
    assert dump_file(tmp_path, "dense", 50) == path
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_asked_for_is_in_the_name(tmp_path: Path) -> None:
    paths = {
        dump_file(tmp_path, "dense", 50),
        dump_file(tmp_path, "dense", 60),
        dump_file(tmp_path, "dense", 50, 3),
        dump_file(tmp_path, "dense", 50, seed=2),
        dump_file(tmp_path, "dense", 50, form="yaml"),
        dump_file(tmp_path, "dense", 50, compact=True),
    }
    assert len(paths) == 6


def test_the_command_writes_to_stdout(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bench.workloads", "mixed", "--pods", "60", "--seed", "3"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    assert ran.stderr == b""
    assert ran.stdout == dump_file(tmp_path, "mixed", 60, seed=3).read_bytes()


def test_the_command_prints_the_path_of_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["dense", "--pods", "50", "--into", str(tmp_path)]) == 0
    assert capsys.readouterr().out.strip() == str(dump_file(tmp_path, "dense", 50))


@pytest.mark.parametrize("arguments", [["nonesuch", "--pods", "5"], ["antrea"]])
def test_wrong_usage_is_told(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_a_number_of_policies_that_a_shape_cannot_have_is_told(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        main(["antrea", "--pods", "40", "--policies", "3"])
    assert "three policies a namespace" in capsys.readouterr().err


def test_cluster_refuses_unknown_shapes() -> None:
    with pytest.raises(KeyError):
        cluster("nonesuch", 10)


def test_the_proposed_change_fits_its_cluster() -> None:
    made = cluster("mixed", 50_000, 5_000)
    documents = list(yaml.safe_load_all((ROOT / "bench" / "mixed-change.yaml").read_text()))
    assert len(documents) == 2
    for document in documents:
        namespace = document["metadata"]["namespace"]
        wanted = document["spec"]["podSelector"]["matchLabels"].items()
        pods = [pod for pod in made.pods if pod.namespace == namespace]
        assert sum(wanted <= pod.labels.items() for pod in pods) > 50
