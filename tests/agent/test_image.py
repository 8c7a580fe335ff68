"""The agent's image: always the same bytes, and what it holds runs on a read-only file system."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "bpf" / "deploy"


def packed(folder: Path, file: Path) -> str:
    """The digest that pack.py gives for an image of ``folder``."""
    found = importlib.util.spec_from_file_location("pack", DEPLOY / "pack.py")
    assert found and found.loader
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    pack: Callable[[Path, Path, str, int], str] = module.pack
    return pack(folder, file, "agent:1", 1_700_000_000)


def content_of(image: tarfile.TarFile, name: str) -> bytes:
    file = image.extractfile(name)
    assert file
    return file.read()


def a_folder(path: Path) -> Path:
    (path / "usr" / "bin").mkdir(parents=True)
    (path / "usr" / "bin" / "tool").write_bytes(b"#!/bin/sh\n")
    (path / "usr" / "bin" / "tool").chmod(0o755)
    (path / "bin").symlink_to("usr/bin")
    os.link(path / "usr" / "bin" / "tool", path / "usr" / "bin" / "twin")
    os.mkfifo(path / "pipe")
    return path


def test_the_same_folder_makes_the_same_image(tmp_path: Path) -> None:
    first, second = (a_folder(tmp_path / name) for name in ("first", "second"))
    os.utime(second / "usr" / "bin" / "tool", (1, 1))
    images = [tmp_path / "one.tar", tmp_path / "two.tar"]
    digests = [packed(*one) for one in zip((first, second), images, strict=True)]
    assert digests[0] == digests[1]
    assert images[0].read_bytes() == images[1].read_bytes()
    (second / "usr" / "bin" / "tool").write_bytes(b"#!/bin/bash\n")
    assert packed(second, images[1]) != digests[0]


def test_what_readers_of_images_look_for(tmp_path: Path) -> None:
    digest = packed(a_folder(tmp_path / "folder"), tmp_path / "image.tar")
    with tarfile.open(tmp_path / "image.tar") as image:
        (entry,) = json.loads(content_of(image, "index.json"))["manifests"]
        assert entry["digest"] == f"sha256:{digest}"
        blobs = [name for name in image.getnames() if name.startswith("blobs/")]
        assert len(blobs) == 3
        for name in blobs:
            assert hashlib.sha256(content_of(image, name)).hexdigest() == name.rpartition("/")[2]
        manifest = json.loads(content_of(image, f"blobs/sha256/{digest}"))
        (layer,) = manifest["layers"]
        (docker,) = json.loads(content_of(image, "manifest.json"))
        assert docker["RepoTags"] == ["agent:1"]
        assert docker["Layers"] == [f"blobs/sha256/{layer['digest'].partition(':')[2]}"]
        with tarfile.open(fileobj=image.extractfile(docker["Layers"][0])) as files:
            found = {one.name: one for one in files}
        # Pipes, sockets and devices are the node's.
        assert sorted(found) == ["bin", "usr", "usr/bin", "usr/bin/tool", "usr/bin/twin"]
        assert found["usr/bin/tool"].mode == 0o755 and found["bin"].issym()
        assert found["usr/bin/twin"].linkname == "usr/bin/tool"
        assert {one.mtime for one in found.values()} == {1_700_000_000}


@pytest.mark.long
@pytest.mark.skipif(os.geteuid() != 0, reason="making an image needs root")
def test_it_is_built_twice_alike_and_runs_read_only(tmp_path: Path) -> None:
    images = [tmp_path / "one.tar", tmp_path / "two.tar"]
    for path in images:
        subprocess.run([DEPLOY / "image.sh", path], check=True, cwd=ROOT)
    assert images[0].stat().st_size < 250_000_000
    with tarfile.open(images[0]) as image:
        (docker,) = json.loads(content_of(image, "manifest.json"))
        config = json.loads(content_of(image, docker["Config"]))["config"]
        with tarfile.open(fileobj=image.extractfile(docker["Layers"][0])) as files:
            files.extractall(tmp_path / "root", filter="tar")
    root = tmp_path / "root"
    contents = json.loads(Path(f"{images[0]}.contents.json").read_text())
    assert {"python3-bpfcc", "numba"} <= {one["name"] for one in contents["components"]}
    # As a container has it: nothing but /tmp can be written.
    script = f'mount --bind -o ro {root} {root} && mount -t tmpfs tmp {root}/tmp && exec "$@"'
    entered = ["unshare", "--mount", "sh", "-c", script, "sh"]
    settings = ["env", "--ignore-environment", *config["Env"]]
    for command in (["kubeverdict-agent", "--version"], ["kubeverdict", "warmup"]):
        subprocess.run([*entered, *settings, "chroot", root, *command], check=True, timeout=60)
    sums = [hashlib.sha256(one.read_bytes()).hexdigest() for one in images]
    assert sums[0] == sums[1]
