"""``python -m tools.manual``: the manual as a site, into dist/manual/site, with every link held to be right.

The pages are those of docs/, as they lie there. They are gathered first with what they lead to beside them, since a
site has no folder above its own. Diagrams are drawn by a Mermaid stored next to them: no page loads anything from
another site. Where it can't be had from npm, the manual is built all the same, and they stand there as text.
"""

import base64
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from functools import partial
from hashlib import sha512
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from keyturn.cli.failures import say
from keyturn.core.errors import Invalid, KeyturnError, Unavailable
from tools.prose import measures

ROOT: Final = Path(__file__).parents[1]
OUTPUT: Final = Path("dist") / "manual"
PAGES: Final = OUTPUT / "pages"
SITE: Final = OUTPUT / "site"
FOLDERS: Final = ("docs", "examples")
FILES: Final = ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "LICENSE")
FRONT: Final = ("README.md", "index.md")
"""The first page, and what it is called where pages are gathered."""
LINK: Final = re.compile(r"(\]\()([^)\s#]+)(#[^)\s]*)?\)")
HREF: Final = re.compile(r'<[^<>]*\s(?:href|src)="?([^"\s>]+)')
COLOUR: Final = re.compile(r"\x1b\[[0-9;]*m")
LINE_LINK: Final = re.compile(r'<a id="__codelineno-[^>]*></a>')
"""The theme's link to a line of code: it has no text, and would be a stop for the keyboard."""
EMPTY_HEADING: Final = re.compile(r"<th([^>]*)></th>")
MISSING: Final = "404.html"
"""Served in any folder, so its links are of the site's root."""
LONGEST: Final = 200
"""Characters of a line that Zensical shows."""
MERMAID: Final = "mermaid@12.3.0"
"""The package of npm that draws diagrams, of the major version that the theme is written for."""
INTEGRITY: Final = "4113TdXeLAsMruJ79OpFL5O8+LTFXhQqZ260rF3tgUmiNAtRm4Uume04I+65PRN6yZ69J4f8rVYWW8zRk65UYw=="
"""SHA-512 of its archive, as npm's own lock files have it after ``sha512-``."""
TAKEN: Final = {"package/dist/mermaid.min.js": "mermaid.min.js", "package/LICENSE": "mermaid.LICENSE"}
"""What is taken out of it, and what that is called beside the pages."""
KEPT: Final = Path("dist") / "mermaid"
"""Where it is kept for the next build, which needs no network then."""
BESIDE: Final = "beside"
"""The folder of the gathered pages for it, for the script that loads it and for styles, as zensical.toml names them."""
OURS: Final = ("accessibility.js", "diagrams.js", "manual.css")
SECONDS_FOR_NPM: Final = 120
INDEX: Final = "README.md"
"""The page of a folder that a link names."""
REFERENCE: Final = tuple(
    f"docs/{name}.md"
    for name in (
        "access-monitoring-reference",
        "catalogue",
        "cli",
        "errors",
        "licences",
        "metrics",
        "recipe-list",
        "security-tests",
        "store-list",
    )
)
"""Reference: generated from the code, or held to it by tests."""
INDEXED: Final = "search.json"
NOT_SEARCHED: Final = (
    "CHANGELOG/",
    "LICENSE/",
    "deployments/",
    "docs/decisions/",
    "docs/licences/",
    "docs/security-tests/",
)
"""Pages that the search leaves out: they are records, and would come before the pages that answer a question."""


def gather(output: Path) -> None:
    """Copy every page and whatever one leads to, each where its links find it."""
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, output / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in FILES:
        shutil.copy(ROOT / file, output / file)
    shutil.copy(ROOT / FRONT[0], output / FRONT[1])
    seen: set[Path] = set()
    # Pages that are copied for a link have links of their own.
    while pages := sorted(set(output.rglob("*.md")) - seen):
        for page in pages:
            page.write_text(LINK.sub(partial(linked, page, output), page.read_text()))
        seen.update(pages)


def linked(page: Path, output: Path, match: re.Match[str]) -> str:
    """A link as it is written among the gathered pages; what it leads to is copied there where it is missing."""
    opening, path, place = match[1], match[2], match[3] or ""
    if urlsplit(path).scheme:
        return match[0]
    target = Path(os.path.normpath(page.parent / path))
    source = ROOT / target.relative_to(output) if target.is_relative_to(output) else target
    if target == output / FRONT[0]:
        path = f"{path.removesuffix(FRONT[0])}{FRONT[1]}"
    elif source.is_dir() and (source / INDEX).is_file():
        path = f"{path.rstrip('/')}/{INDEX}"
        copy(source / INDEX, target / INDEX)
    elif source.is_dir():
        return f"{opening}{listing(source, target, path)})"
    else:
        copy(source, target)
    return f"{opening}{path}{place})"


def copy(source: Path, target: Path) -> None:
    """Copy a file that no folder has brought yet."""
    if source.is_file() and not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)


def listing(source: Path, target: Path, path: str) -> str:
    """Make a page that lists a folder without a page of its own, and give the link to it."""
    page = target / "index.md"
    if not page.exists():
        names = sorted(file.name for file in source.iterdir() if file.is_file())
        for name in names:
            copy(source / name, target / name)
        page.write_text(f"# {source.name}\n\n" + "".join(f"- [{name}]({name})\n" for name in names))
    return f"{path.rstrip('/')}/index.md"


def build(root: Path) -> None:
    """Build what was gathered below ``root``. Raises Invalid with what Zensical says is wrong."""
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        words = COLOUR.sub("", done.stdout + done.stderr).splitlines()
        sys.stderr.writelines(f"{line[:LONGEST]}\n" for line in words if line.strip())
        raise Invalid("build", "the manual", "a page leads nowhere, as shown above", "Mend the pages that are named")


def narrow_search(site: Path) -> None:
    """Leave records out of the search."""
    index = json.loads((site / INDEXED).read_text())
    index["items"] = [item for item in index["items"] if not item["location"].startswith(NOT_SEARCHED)]
    (site / INDEXED).write_text(json.dumps(index))


def make_accessible(site: Path) -> None:
    """Remove links without text, and make headings without text plain cells."""
    for page in site.rglob("*.html"):
        page.write_text(EMPTY_HEADING.sub(r"<td\1></td>", LINE_LINK.sub("", page.read_text())))


def counted(root: Path) -> dict[str, int]:
    """The words of the pages by kind, without code blocks."""
    words = dict.fromkeys(("guides and concepts", "reference", "decisions"), 0)
    for page in [root / FRONT[0], *(root / "docs").rglob("*.md")]:
        name = str(page.relative_to(root))
        kind = "decisions" if "decisions/" in name else "reference" if name in REFERENCE else "guides and concepts"
        words[kind] += measures(page.read_text()).words
    return words


def dead_links(site: Path) -> Iterator[str]:
    """Every link between built pages that leads nowhere, with the page that has it."""
    for page in sorted(site.rglob("*.html")):
        for link in HREF.findall(page.read_text()):
            parts = urlsplit(link)
            if page.name == MISSING or parts.scheme or parts.netloc or not parts.path:
                continue
            target = page.parent / unquote(parts.path)
            if not (target.is_file() or (target / "index.html").is_file()):
                yield f"{page.relative_to(site)}: {link}"


def lay_beside(pages: Path, kept: Path) -> None:
    """Lay styles, and what draws diagrams, beside the pages. Raises Invalid where its archive is not the pinned one."""
    target = pages / BESIDE
    target.mkdir()
    for name in OURS:
        shutil.copy(Path(__file__).with_name(name), target)
    try:
        archive = fetched(kept)
    except Unavailable as error:
        print(f"diagrams stand as text in this manual: {error}", file=sys.stderr)  # noqa: T201
        return
    with tarfile.open(archive) as opened:
        for name, beside in TAKEN.items():
            if member := opened.extractfile(name):
                (target / beside).write_bytes(member.read())


def fetched(kept: Path) -> Path:
    """The package's archive, from npm or kept since. Raises Unavailable without either, Invalid where it is another."""
    archive = kept / f"{MERMAID.replace('@', '-')}.tgz"
    if not archive.is_file():
        kept.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept) as directory:
            pack(Path(directory))
            insist_on_integrity(Path(directory) / archive.name)
            os.replace(Path(directory) / archive.name, archive)
    insist_on_integrity(archive)
    return archive


def pack(directory: Path) -> None:
    """Have npm write the package's archive there; nothing of it is run. Raises Unavailable where it does not."""
    command = ["npm", "pack", MERMAID, "--ignore-scripts", "--silent", f"--pack-destination={directory}"]
    try:
        subprocess.run(command, cwd=directory, capture_output=True, check=True, timeout=SECONDS_FOR_NPM)
    except (OSError, subprocess.SubprocessError):
        raise Unavailable(
            "fetch", MERMAID, "npm did not give it", "Install npm, or give it a network, and build again"
        ) from None


def insist_on_integrity(archive: Path) -> None:
    """Raise Invalid where an archive is not the one that was pinned."""
    if base64.b64encode(sha512(archive.read_bytes()).digest()).decode() != INTEGRITY:
        raise Invalid("open", archive.name, "it is another archive than the one that is pinned", f"Remove {archive}")


def main(root: Path = ROOT) -> None:
    """Gather, build, and look whether every link leads somewhere."""
    try:
        gather(root / PAGES)
        lay_beside(root / PAGES, root / KEPT)
        build(root)
        narrow_search(root / SITE)
        make_accessible(root / SITE)
        if dead := sorted(set(dead_links(root / SITE))):
            raise Invalid("build", "the manual", f"links lead nowhere: {', '.join(dead)}", "Mend these links")
    except KeyturnError as error:
        say(error)
        sys.exit(1)
    sizes = ", ".join(f"{words:,} words of {kind}" for kind, words in counted(ROOT).items())
    print(f"the manual: {SITE}/index.html ({sizes})")  # noqa: T201


if __name__ == "__main__":
    main()
