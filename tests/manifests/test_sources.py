"""Where bytes come from: files, folders, standard input, and what cannot be read."""

from __future__ import annotations

import errno
import io
import os
from pathlib import Path
from threading import Thread

import pytest

from kubeverdict.errors import InputError, UsageError
from kubeverdict.manifests import load, sources

POD = "apiVersion: v1\nkind: Pod\nmetadata: {name: %s}\n"


def names(*paths: str | Path) -> list[str]:
    return [pod.name for pod in load([str(path) for path in paths]).cluster.pods]


def errors(*paths: str | Path) -> list[str]:
    with pytest.raises(InputError) as caught:
        load([str(path) for path in paths])
    return [str(problem) for problem in caught.value.problems]


def test_a_folder_is_read_in_order_without_what_is_hidden(tmp_path: Path) -> None:
    for name in ("b.yaml", "a/z.yml", "a/c.JSON", ".hidden.yaml", ".git/x.yaml", "a/readme.md"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(POD % path.name.split(".")[0])
    (tmp_path / "a/c.JSON").write_text('{"apiVersion":"v1","kind":"Pod","metadata":{"name":"c"}}')
    loaded = load([str(tmp_path)])
    assert [pod.name for pod in loaded.cluster.pods] == ["b", "c", "z"]
    assert (loaded.files, loaded.documents) == (3, 3)


def test_several_paths_are_one_cluster(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(POD % "a")
    (tmp_path / "b").write_text(POD % "b")
    assert names(tmp_path / "b", tmp_path / "a.yaml") == ["b", "a"]


def test_standard_input() -> None:
    loaded = load(["-"], stdin=io.BytesIO((POD % "a").encode()))
    assert [pod.name for pod in loaded.cluster.pods] == ["a"]


def test_a_path_named_twice_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(POD % "a")
    assert errors(path, path) == [f"{path}: is named twice"]


def test_no_path_is_wrong_usage() -> None:
    with pytest.raises(UsageError):
        load([])


def test_what_is_missing_or_empty_is_named(tmp_path: Path) -> None:
    missing, empty, nothing = tmp_path / "m.yaml", tmp_path / "e.yaml", tmp_path / "n.yaml"
    folder, values = tmp_path / "folder", tmp_path / "values"
    empty.write_text("")
    nothing.write_text("---\nnull\n---\n# nothing\n")
    folder.mkdir()
    values.mkdir()
    (values / "values.yaml").write_text("replicas: 1\n")
    assert errors(missing, empty, nothing, folder, values) == [
        f"{missing}: cannot be read: {os.strerror(errno.ENOENT)}",
        f"{folder}: this folder holds no *.yaml, *.yml or *.json file",
        f"{empty}: holds no Kubernetes object",
        f"{nothing}: holds no Kubernetes object",
        f"{values}: holds no Kubernetes object",
    ]


def test_a_missing_path_cannot_be_skipped(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(POD % "a")
    with pytest.raises(InputError):
        load([str(tmp_path / "a.yaml"), str(tmp_path / "b.yaml")], skip_invalid=True)


def test_an_empty_list_is_not_nothing(tmp_path: Path) -> None:
    for name, text in [
        ("a.json", '{"apiVersion": "v1", "kind": "List", "items": []}'),
        ("b.yaml", "apiVersion: v1\nkind: PodList\nitems: []\n"),
    ]:
        (tmp_path / name).write_text(text)
        assert names(tmp_path / name) == []


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    # Root may read whatever has the wrong mode; nobody can follow a link to itself.
    path = tmp_path / "a.yaml"
    path.symlink_to(path)
    assert errors(path) == [f"{path}: cannot be read: Too many levels of symbolic links"]


def test_a_named_pipe_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = Thread(target=path.write_text, args=(POD % "a",))
    writer.start()
    assert names(path) == ["a"]
    writer.join()


def test_a_pipe_with_a_writer_is_read() -> None:
    reading, writing = os.pipe()
    os.write(writing, (POD % "a").encode())
    os.close(writing)
    try:
        assert names(f"/dev/fd/{reading}") == ["a"]
    finally:
        os.close(reading)


def test_devices_and_odd_names() -> None:
    message = "is a device, not a file; - reads standard input"
    assert errors("/dev/null") == [f"/dev/null: {message}"]
    assert "cannot be read" in errors("a\0b")[0]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_text_with_a_byte_order_mark(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(POD % "a", encoding=encoding)
    assert names(path) == ["a"]
    path = tmp_path / "a.json"
    path.write_text('{"apiVersion":"v1","kind":"Pod","metadata":{"name":"c"}}', encoding=encoding)
    assert names(path) == ["c"]


def test_text_that_is_not_unicode_is_named(tmp_path: Path) -> None:
    latin, odd, binary = tmp_path / "latin.yaml", tmp_path / "odd.yaml", tmp_path / "x.yaml"
    latin.write_bytes(b"a: b\nc: \xe4\n")
    odd.write_bytes(b"\xff\xfea")
    binary.write_bytes(bytes(range(256)))
    assert errors(latin, odd, binary) == [
        f"{latin}:2: not UTF-8 text: invalid continuation byte at byte 8",
        f"{odd}: is not utf-16 text: truncated data at byte 2",
        f"{binary}:2: not UTF-8 text: invalid start byte at byte 128",
    ]


def test_a_large_file_is_mapped_and_read_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = [
        f'{{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"p{n}"}},"spec":7}}' for n in (1, 2)
    ]
    path = tmp_path / "a.json"
    path.write_text('{"apiVersion":"v1","kind":"List","items":[\n' + ",\n".join(items) + "]}")
    copied = errors(path)
    monkeypatch.setattr(sources, "_MAPPED", 0)
    assert errors(path) == copied
    assert [text.split(": ")[0] for text in copied] == [f"{path}:2", f"{path}:3"]
