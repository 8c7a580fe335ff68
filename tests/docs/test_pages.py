"""The pages: short enough, linked, and equal to the code that they describe."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from kubeverdict_agent.node import privileges
from tests.cli.running import EXAMPLES, run
from tests.docs import generated
from tests.docs.pages import PAGES, ROOT, Block, blocks, blocks_of, prose

README = ROOT / "README.md"
SECURITY = ROOT / "SECURITY.md"
INDEX = ROOT / "docs" / "README.md"
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
LONGEST_README = 180  # lines: it is the door


def links(page: Path) -> list[tuple[Path, str]]:
    """Files that a page links to, and the anchor in each."""
    found = []
    for target in _LINK.findall(prose(page)):
        if "://" not in target:
            file, _, anchor = target.partition("#")
            found.append(((page.parent / file).resolve() if file else page, anchor))
    return found


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", prose(page), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_readme_is_short() -> None:
    assert README.read_text("utf-8").count("\n") <= LONGEST_README


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    broken = [
        f"{file}#{anchor}"
        for file, anchor in links(page)
        if not file.exists() or (anchor and anchor not in anchors(file))
    ]
    assert broken == []


@pytest.mark.parametrize("index", [README, INDEX], ids=["README.md", "docs/README.md"])
def test_an_index_has_every_page(index: Path) -> None:
    pages = {page for page in PAGES if page.parent == ROOT / "docs"} - {INDEX}
    pages |= {ROOT / name for name in ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")}
    assert pages - {file for file, _ in links(index)} == set()


@pytest.mark.parametrize(("page", "mark", "text"), list(generated.parts()))
def test_what_follows_from_the_code_is_current(page: Path, mark: str, text: str) -> None:
    now = page.read_text("utf-8")
    assert generated.written(now, mark, text) == now, "run python -m tests.docs.generated"


def test_every_part_of_the_engine_is_on_the_map() -> None:
    text = generated.ARCHITECTURE.read_text("utf-8")
    for folder in (ROOT / "engine" / "kubeverdict", ROOT / "bpf" / "kubeverdict_agent"):
        for part in folder.iterdir():
            if (part / "__init__.py").exists():
                assert f"`{part.name}`" in text


@pytest.mark.parametrize(
    ("command", "picture"),
    [
        ("whatif -f shop --apply shop-change -o svg", ROOT / "docs" / "shop-change.svg"),
        ("list -f shop -o svg", EXAMPLES / "shop.svg"),
    ],
)
def test_pictures_are_what_the_command_prints(command: str, picture: Path) -> None:
    assert run(*command.split(), folder=EXAMPLES).out == picture.read_text("utf-8")


@pytest.mark.parametrize("block", blocks_of("python"), ids=str)
def test_python_runs(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shutil.copytree(EXAMPLES, tmp_path / "examples"))
    exec(compile("\n".join(block.lines), str(block), "exec"), {})


def test_the_capabilities_of_the_agent() -> None:
    rows = re.findall(r"^\| (CAP_\w+) \|.*\| (yes|no) \|$", SECURITY.read_text("utf-8"), re.M)
    given_up = {*privileges.NEEDED, "CAP_SETPCAP"} - {*privileges.KEPT}
    kept, others = ({name for name, word in rows if word == want} for want in ("yes", "no"))
    assert (kept, others) == ({*privileges.KEPT}, given_up)


def test_blocks_are_of_known_languages() -> None:
    known = {"console", "sh", "python", "yaml", "json", "toml", "mermaid", ""}
    assert {block.language for page in PAGES for block in blocks(page)} <= known
