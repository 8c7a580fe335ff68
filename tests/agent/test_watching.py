"""Files and folders whose changes the kernel reports: at once, and nothing else is looked at."""

from __future__ import annotations

import os
import select
from collections.abc import Iterator
from pathlib import Path

import pytest

from kubeverdict.errors import InputError
from kubeverdict_agent.control import source as sources
from kubeverdict_agent.control.source import FileSource
from kubeverdict_agent.control.watching import PathWatch
from kubeverdict_agent.control.writing import BeingWritten
from tests.agent.test_source import POLICY, names

LONG_AFTER = 10.0 * 3600


def at_once(seconds: float) -> None:
    raise AssertionError(f"waited {seconds} s for what was there as a whole")


def policy(name: str) -> str:
    return POLICY.format(namespace="shop", name=name)


def replace(path: Path, text: str) -> None:
    new = path.with_name(f".{path.name}.new")
    new.write_text(text)
    os.replace(new, path)


def is_reported(source: FileSource) -> bool:
    return bool(select.select(source.descriptors, (), (), 0.0)[0])


@pytest.fixture(autouse=True)
def nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not reported is not found."""
    monkeypatch.setattr(sources, "_LOOK_SECONDS", LONG_AFTER)
    monkeypatch.setattr(sources, "_LONGEST_SECONDS", LONG_AFTER)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    made = tmp_path / "src"
    made.mkdir()
    (made / "one.yaml").write_text(policy("one"))
    yield made


def opened(path: Path) -> FileSource:
    source = FileSource([str(path)])
    source.read(lambda seconds: None)
    assert not source.changed() and source.quiet_seconds > LONG_AFTER / 2
    return source


def changes(source: FileSource) -> list[str]:
    """What is read after a change that was reported."""
    assert is_reported(source)
    assert source.changed()
    found = names(source.read(lambda seconds: None).cluster)
    assert not source.changed()
    return found


def test_a_file_that_replaces_another_is_read_at_once(folder: Path) -> None:
    for path in (folder, folder / "one.yaml"):
        source = opened(path)
        replace(folder / "one.yaml", policy("other"))
        assert is_reported(source) and source.changed()
        assert names(source.read(at_once).cluster) == ["shop/other"]
        replace(folder / "one.yaml", policy("one"))
        assert source.changed() and names(source.read(at_once).cluster) == ["shop/one"]
        source.close()


def test_any_other_change_is_waited_for(folder: Path) -> None:
    source = opened(folder)
    waited: list[float] = []

    def write() -> None:
        (folder / "one.yaml").write_text(policy("other"))

    def move_away() -> None:
        (folder / "one.yaml").rename(folder / "two.yaml")

    for change in (write, move_away, (folder / "two.yaml").unlink):
        (folder / "kept.yaml").write_text(policy("kept"))
        source.read(lambda seconds: None)
        change()
        # Also where a file is replaced at the same time.
        replace(folder / "kept.yaml", policy("new"))
        assert is_reported(source) and source.changed()
        source.read(waited.append)
        assert waited.pop() > 0 and not waited
    assert names(source.read(lambda seconds: None).cluster) == ["shop/new"]


def test_a_file_that_somebody_writes_after_it_was_moved_is_not_read(folder: Path) -> None:
    source = opened(folder)
    new = folder / ".new"
    with new.open("w") as file:
        file.write(policy("half"))
        file.flush()
        os.replace(new, folder / "one.yaml")
        assert source.changed()
        with pytest.raises(BeingWritten):
            source.read(lambda seconds: None)
        file.write("---\n" + policy("whole"))
    assert changes(source) == ["shop/half", "shop/whole"]


def test_what_is_not_read_is_not_looked_at(folder: Path) -> None:
    source = opened(folder)
    one = opened(folder / "one.yaml")
    (folder / ".hidden.yaml").write_text("x")
    (folder / "notes.txt").write_text("x")
    (folder.parent / "beside.yaml").write_text("x")
    assert not source.changed() and not one.changed()
    (folder / "two.yaml").write_text(policy("two"))
    assert source.changed() and not one.changed()
    assert not is_reported(one), "what was reported is read, or there is no end to it"


def test_folders_that_come_and_go(folder: Path) -> None:
    source = opened(folder)
    inner = folder / "a" / "b"
    inner.mkdir(parents=True)
    (inner / "two.yaml").write_text(policy("two"))
    assert changes(source) == ["shop/one", "shop/two"]
    replace(inner / "two.yaml", policy("three"))
    assert changes(source) == ["shop/one", "shop/three"]
    (folder / "a").rename(folder.parent / "away")
    assert changes(source) == ["shop/one"]
    (folder.parent / "away").rename(folder / "c")
    assert changes(source) == ["shop/one", "shop/three"]
    (folder / "c" / "b" / "two.yaml").unlink()
    (folder / "c" / "b").rmdir()
    assert changes(source) == ["shop/one"]


def test_a_source_that_appears_later(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "policies"
    source = FileSource([str(path)])
    with pytest.raises(InputError):
        source.read(lambda seconds: None)
    assert not source.changed()
    path.parent.mkdir(parents=True)
    source.changed()
    path.mkdir()
    (path / "one.yaml").write_text(policy("one"))
    assert changes(source) == ["shop/one"]


def test_a_folder_that_is_replaced(folder: Path) -> None:
    source = opened(folder)
    other = folder.with_name("other")
    other.mkdir()
    (other / "two.yaml").write_text(policy("two"))
    folder.rename(folder.with_name("away"))
    other.rename(folder)
    assert changes(source) == ["shop/two"]
    replace(folder / "two.yaml", policy("three"))
    assert changes(source) == ["shop/three"]


def test_a_mounted_config_map(tmp_path: Path) -> None:
    """The kubelet writes a hidden folder, and swaps a hidden link to it."""
    mounted = tmp_path / "mounted"
    mounted.mkdir()

    def update(version: str, *files: str) -> None:
        (mounted / f"..{version}").mkdir()
        for name in files:
            (mounted / f"..{version}" / f"{name}.yaml").write_text(policy(f"{name}-{version}"))
        (mounted / "..data_tmp").symlink_to(f"..{version}")
        os.replace(mounted / "..data_tmp", mounted / "..data")
        for name in files:
            if not (mounted / f"{name}.yaml").is_symlink():
                (mounted / f"{name}.yaml").symlink_to(f"..data/{name}.yaml")

    update("1", "one")
    source, single = opened(mounted), opened(mounted / "one.yaml")
    update("2", "one")
    assert changes(source) == changes(single) == ["shop/one-2"]
    update("3", "one", "two")
    assert changes(source) == ["shop/one-3", "shop/two-3"]
    assert changes(single) == ["shop/one-3"]
    # What is behind the link is watched too.
    replace(mounted / "..3" / "two.yaml", policy("changed"))
    assert changes(source) == ["shop/changed", "shop/one-3"]
    assert not single.changed()


def test_links_that_lead_on(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "far" / "v1").mkdir(parents=True)
    (tmp_path / "far" / "v1" / "x.yaml").write_text(policy("v1"))
    (tmp_path / "far" / "now").symlink_to("v1")
    (folder / "link.yaml").symlink_to(tmp_path / "far" / "now" / "x.yaml")
    (tmp_path / "second").symlink_to("src")
    source = opened(tmp_path / "second")
    (tmp_path / "far" / "v2").mkdir()
    (tmp_path / "far" / "v2" / "x.yaml").write_text(policy("v2"))
    (tmp_path / "far" / "new").symlink_to("v2")
    assert not source.changed()
    os.replace(tmp_path / "far" / "new", tmp_path / "far" / "now")
    assert changes(source) == ["shop/one", "shop/v2"]
    # A link that leads in a circle is a file that cannot be read.
    (folder / "link.yaml").unlink()
    (folder / "link.yaml").symlink_to("link.yaml")
    assert is_reported(source)
    source.changed()


def test_more_changes_than_are_reported_one_by_one(folder: Path) -> None:
    source = opened(folder)
    most = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    for number in range(most // 3 + 10):
        (folder / f"x{number}.yaml").touch()
        (folder / f"x{number}.yaml").unlink()
    (folder / "two.yaml").write_text(policy("two"))
    assert changes(source) == ["shop/one", "shop/two"]


def test_without_reports_files_are_looked_at_often(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the kernel has no more room for them."""
    opens: list[PathWatch] = []
    limit = int(Path("/proc/sys/fs/inotify/max_user_instances").read_text())
    try:
        while len(opens) <= limit + 1:
            opens.append(PathWatch([]))
        source = FileSource([str(folder)])
        assert source.descriptors == ()
        source.read(lambda seconds: None)
        assert source.quiet_seconds <= sources.POLL_SECONDS
        replace(folder / "one.yaml", policy("other"))
        while not source.changed():
            assert source.quiet_seconds <= sources.POLL_SECONDS
        assert names(source.read(lambda seconds: None).cluster) == ["shop/other"]
    finally:
        for watch in opens:
            watch.close()
