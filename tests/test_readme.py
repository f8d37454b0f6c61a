"""Claims about texts: the README's tree names the packages, links lead somewhere, nothing of a merge is left."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.support.paths import ROOT

PAGES = ["README.md", "ARCHITECTURE.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]


def tracked(*patterns: str) -> list[Path]:
    command = ["git", "ls-files", *patterns]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout.splitlines()
    if not listed:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed if (ROOT / name).is_file()]


def test_the_tree_names_every_package() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"\b(\w+)/", readme[readme.index("## The tree") :]))
    folders = {path.parent.relative_to(ROOT) for path in tracked("*.py")}
    wanted = {part for folder in folders if folder.parts[:1] != ("tests",) for part in folder.parts[:3]}
    assert wanted - named == set()


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files_that_are_there(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", text)
    assert [link for link in links if not ((ROOT / page).parent / link).exists()] == []


def test_no_text_holds_what_a_merge_left() -> None:
    marks = re.compile(r"^(<{7} |>{7} )", re.M)
    texts = tracked("*.md", "*.py", "*.yaml", "*.toml", "*.sh")
    assert [str(path) for path in texts if marks.search(path.read_text(encoding="utf-8"))] == []
    assert marks.search("<" * 7 + " HEAD\n"), "control"
