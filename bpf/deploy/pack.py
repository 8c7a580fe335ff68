"""Packs a folder as an image with one layer, always to the same bytes: ``pack.py FOLDER FILE``.

FILE is an OCI image layout that is a ``docker save`` archive as well. FILE.contents.json is the
list of packages that the folder has in ``usr/share/kubeverdict-contents.json``. It uses nothing
but Python's own library, as it runs before anything is installed.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import json
import os
import platform
import shutil
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_CONTENTS = "usr/share/kubeverdict-contents.json"
_ENVIRONMENT = [
    "PATH=/opt/kubeverdict/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "OPENBLAS_NUM_THREADS=1",
    # Where compiled kernels are, and what they were compiled for.
    "XDG_CACHE_HOME=/var/cache",
    "NUMBA_CPU_NAME=x86-64-v2",
]
_TYPE = "application/vnd.oci.image"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("file", type=Path)
    parser.add_argument("--tag", required=True, help="the name of the image, NAME:VERSION")
    chosen = parser.parse_args()
    pack(chosen.folder, chosen.file, chosen.tag, int(os.environ["SOURCE_DATE_EPOCH"]))
    shutil.copyfile(chosen.folder / _CONTENTS, f"{chosen.file}.contents.json")


def pack(folder: Path, file: Path, tag: str, time: int) -> str:
    """Write the image ``tag`` of ``folder`` to ``file``; returns the digest of its manifest.
    ``time`` (seconds since 1970) is that of every file in it."""
    layer = file.with_name(f"{file.name}.layer")
    unpacked = _write_layer(folder, layer, time)
    with layer.open("rb") as written:
        packed = hashlib.file_digest(written, "sha256").hexdigest()
    architecture = _ARCHITECTURES.get(platform.machine(), platform.machine())
    config = _json(
        {
            "architecture": architecture,
            "os": "linux",
            "config": {"Entrypoint": ["kubeverdict-agent"], "Env": _ENVIRONMENT},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{unpacked}"]},
            "history": [{"created_by": "bpf/deploy/image.sh"}],
        }
    )
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": f"{_TYPE}.manifest.v1+json",
            "config": _described(f"{_TYPE}.config.v1+json", config),
            "layers": [
                {
                    "mediaType": f"{_TYPE}.layer.v1.tar+gzip",
                    "digest": f"sha256:{packed}",
                    "size": layer.stat().st_size,
                }
            ],
        }
    )
    entry = _described(f"{_TYPE}.manifest.v1+json", manifest)
    entry["platform"] = {"architecture": architecture, "os": "linux"}
    entry["annotations"] = {
        "io.containerd.image.name": f"docker.io/library/{tag}",
        "org.opencontainers.image.ref.name": tag.rpartition(":")[2],
    }
    for_docker = [
        {
            "Config": _blob(_digest(config)),
            "RepoTags": [tag],
            "Layers": [_blob(packed)],
        }
    ]
    with tarfile.open(file, "w") as archive:
        for name, content in (
            ("oci-layout", _json({"imageLayoutVersion": "1.0.0"})),
            ("index.json", _json({"schemaVersion": 2, "manifests": [entry]})),
            ("manifest.json", _json(for_docker)),
            (_blob(_digest(config)), config),
            (_blob(_digest(manifest)), manifest),
        ):
            _add(archive, name, io.BytesIO(content), len(content), time)
        with layer.open("rb") as packed_layer:
            _add(archive, _blob(packed), packed_layer, layer.stat().st_size, time)
    layer.unlink()
    return _digest(manifest)


class _Summed(io.RawIOBase):
    """A file that sums up what is written to it."""

    def __init__(self, file: io.BufferedIOBase) -> None:
        self._file = file
        self.sum = hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.sum.update(data)
        self._file.write(data)
        return len(data)


def _write_layer(folder: Path, layer: Path, time: int) -> str:
    """Write the compressed layer; returns the digest of what it is before it is compressed."""
    with layer.open("wb") as raw, gzip.GzipFile("", "wb", 6, raw, mtime=0) as packed:
        summed = _Summed(packed)
        with tarfile.open(fileobj=summed, mode="w|", format=tarfile.PAX_FORMAT) as archive:
            for path in _inside(folder):
                entry = archive.gettarinfo(path, str(path.relative_to(folder)))
                entry.mtime = time
                entry.uname = entry.gname = ""
                if entry.isreg():
                    with path.open("rb") as content:
                        archive.addfile(entry, content)
                else:
                    archive.addfile(entry)
        return summed.sum.hexdigest()


def _inside(folder: Path) -> Iterator[Path]:
    """Everything below a folder but devices and sockets, in order, folders before their content."""
    for path in sorted(folder.iterdir()):
        mode = path.lstat().st_mode
        if stat.S_ISREG(mode) or stat.S_ISLNK(mode) or stat.S_ISDIR(mode):
            yield path
        if stat.S_ISDIR(mode):
            yield from _inside(path)


def _add(archive: tarfile.TarFile, name: str, content: IO[bytes], size: int, time: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mtime, entry.mode = size, time, 0o644
    archive.addfile(entry, content)


def _described(media_type: str, content: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": f"sha256:{_digest(content)}", "size": len(content)}


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _blob(digest: str) -> str:
    return f"blobs/sha256/{digest}"


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True).encode()


if __name__ == "__main__":
    main()
