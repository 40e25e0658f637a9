"""The manual is complete, has no broken link, and its first pages are correct."""

import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from keyturn.core.errors import Invalid
from tools import manual
from tools.manual import BESIDE, FRONT, KEPT, OURS, PAGES, ROOT, SITE, dead_links

pytestmark = pytest.mark.sampled(4, of="files")

PAGES_APART = ("decisions", "images", "examples")
"""Folders of docs/ whose pages others lead to: one for each decision would hide the rest."""


def places(entry: Any) -> Iterator[str]:
    """Every page that the settings name."""
    if isinstance(entry, str):
        yield entry
    for part in entry.values() if isinstance(entry, dict) else entry if isinstance(entry, list) else ():
        yield from places(part)


def test_every_page_stands_once_in_the_manual() -> None:
    listed = list(places(tomllib.loads((ROOT / "zensical.toml").read_text())["project"]["nav"]))
    pages = {str(page.relative_to(ROOT)) for page in (ROOT / "docs").rglob("*.md")}
    pages = {page for page in pages if page.split("/")[1] not in PAGES_APART}
    assert len(listed) == len(set(listed))
    assert pages <= set(listed)
    assert all((ROOT / page).is_file() for page in listed if page != FRONT[1])


def settled(root: Path) -> Path:
    """The folder with the manual's settings."""
    shutil.copy(ROOT / "zensical.toml", root)
    return root


def test_it_builds_and_every_link_of_it_leads_somewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # where no npm is
    manual.main(settled(tmp_path))
    assert "diagrams stand as text in this manual: fetch mermaid@" in capfd.readouterr().err
    site = tmp_path / SITE
    assert sorted(file.name for file in (site / BESIDE).iterdir()) == sorted(OURS)
    assert f"../../{BESIDE}/diagrams.js" in (site / "docs" / "concepts" / "index.html").read_text()
    assert (site / "docs" / "emergency-card" / "index.html").is_file()
    assert (site / "deployments" / "policies" / "keyturn-worker.hcl").is_file()
    (site / "docs" / "lost.html").write_text('<a href="../nowhere/">x</a> <a href="https://a.example/x">y</a>')
    assert list(dead_links(site)) == ["docs/lost.html: ../nowhere/"]


def test_a_page_that_leads_nowhere_is_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / PAGES).mkdir(parents=True)
    (tmp_path / PAGES / "index.md").write_text("# Manual\n\n[x](nowhere.md)\n")
    with pytest.raises(Invalid):
        manual.build(settled(tmp_path))
    assert "index.md:3" in capfd.readouterr().err


@pytest.mark.attack
def test_only_the_pinned_archive_is_unpacked(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / KEPT).mkdir(parents=True)
    (tmp_path / KEPT / "mermaid-12.3.0.tgz").write_bytes(b"another")
    with pytest.raises(SystemExit):
        manual.main(settled(tmp_path))
    assert "mermaid-12.3.0.tgz: it is another archive than the one that is pinned" in capfd.readouterr().err
    assert not (tmp_path / PAGES / BESIDE / "mermaid.min.js").exists()
