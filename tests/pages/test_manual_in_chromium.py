"""The manual in a real browser: diagrams are drawn, the card is one sheet, and the search answers common questions.

Tried in a deep run: it builds the whole manual, with npm.
"""

import re
import shutil
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import quote_plus, urlsplit

import pytest

from tests.pages.accessibility import LOOKS, violations
from tests.support.sampling import deep
from tools import manual
from tools.browser import Tab, opened_browser

pytestmark = [
    pytest.mark.skipif(not deep(), reason="a deep run builds the whole manual"),
    pytest.mark.skipif(not shutil.which("npm"), reason="npm is not installed"),
]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole manual, with a Mermaid that is kept for the next time."""
    root = tmp_path_factory.mktemp("manual")
    shutil.copy(manual.ROOT / "zensical.toml", root)
    (root / manual.KEPT.parent).mkdir()
    (manual.ROOT / manual.KEPT).mkdir(parents=True, exist_ok=True)
    (root / manual.KEPT).symlink_to(manual.ROOT / manual.KEPT)
    manual.main(root)
    return root / manual.SITE


@pytest.fixture(scope="module")
def tab() -> Iterator[Tab]:
    with opened_browser("127.0.0.1") as tab:
        tab.size(1300, 900)
        yield tab


def opened(tab: Tab, site: Path, page: str) -> None:
    """Look at a page."""
    tab.loaded.clear()
    tab.go((site / "docs" / page / "index.html").as_uri())


def from_elsewhere(tab: Tab, site: Path) -> list[str]:
    """What the page asked others for."""
    return [address for address in tab.loaded if not address.startswith((site.as_uri(), "data:", "blob:"))]


def test_a_diagram_is_drawn_by_what_lies_beside_the_pages(tab: Tab, site: Path) -> None:
    opened(tab, site, "concepts")
    tab.wait("document.querySelector('div.mermaid')")
    assert tab.run("typeof window.mermaid.parse") == "function"
    assert (site / manual.BESIDE / "mermaid.min.js").as_uri() in tab.loaded
    assert from_elsewhere(tab, site) == []


def test_without_it_the_diagram_stands_as_text_and_nobody_else_is_asked(tab: Tab, site: Path) -> None:
    drawing = site / manual.BESIDE / "mermaid.min.js"
    moved = drawing.rename(site.parent / drawing.name)
    try:
        opened(tab, site, "concepts")
        tab.wait("document.querySelector('div.mermaid')?.offsetHeight > 50")
        assert tab.run("typeof window.mermaid.parse") == "undefined"
        assert from_elsewhere(tab, site) == []
    finally:
        moved.rename(drawing)


def test_a_page_without_diagrams_loads_none_of_it_and_the_card_is_printed_on_one_sheet(tab: Tab, site: Path) -> None:
    tab.size(1300, 900, paper=True)
    opened(tab, site, "emergency-card")
    assert not any("mermaid" in address for address in tab.loaded)
    assert re.findall(rb"/Type\s*/Pages[^>]*?/Count (\d+)", tab.page.pdf(prefer_css_page_size=True)) == [b"1"]
    tab.size(1300, 900)


def test_what_is_copied_from_a_console_is_what_is_typed(tab: Tab, site: Path) -> None:
    opened(tab, site, "start")
    copied = tab.run(
        """[...document.querySelectorAll(".highlight code")].map((code) => {
          code.setAttribute("data-md-copying", "");
          return code.innerText;
        }).join("\\n")"""
    )
    assert "keyturn up\n" in copied
    assert "$ " not in copied


QUESTIONS = {
    "KT204": ("errors#kt204",),
    "rollback": ("cli#rollback",),
    "freeze": ("catalogue#freezes", "operations#pause-rotation"),
    "grace": ("protocol#the-grace",),
    "second person": ("revocation#a-second-person",),
    "upgrade": ("operations#upgrade",),
    "slack": ("operations#slack-and-email",),
    "prometheus": ("operations#prometheus",),
    "AWS permissions": ("own-vault-and-clouds#aws-secrets-manager-permissions",),
    "secret leaked": ("emergency-card",),
    "database down": ("operations#database-down",),
    "uninstall": ("uninstall",),
    "KEYTURN_LEDGER": ("ledger#keyturn_ledger-and-keyturn_ledger_name",),
    "java": ("agent#other-languages-java-go",),
    "add second region": ("catalogue#several-regions-and-accounts", "disaster-recovery#second-region-and-failover"),
    "change rotation interval": ("operations#change-the-rotation-interval",),
    "pause rotation": ("operations#pause-rotation",),
    "consumer health": ("operations#consumer-health",),
}
"""What people type, and the places of which one is among the first three hits."""


class Quiet(SimpleHTTPRequestHandler):
    """Serves files without a log."""

    def log_message(self, *_: object) -> None:
        """Write nothing."""


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    """Where the manual is served."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site))) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def visited(tab: Tab, address: str) -> None:
    """Open a page as on a first visit: the theme otherwise keeps the colours of the last one."""
    tab.go(address)
    tab.run("localStorage.clear()")
    tab.page.reload()
    tab.page.wait_for_load_state("networkidle")


def open_search(tab: Tab) -> None:
    """Open the search by keyboard."""
    tab.press("/")
    tab.page.locator("dialog input").first.wait_for()


def test_the_search_answers_common_questions_in_its_first_three_hits(tab: Tab, address: str) -> None:
    visited(tab, f"{address}/")
    open_search(tab)
    answers = {question: hits(tab, question) for question in QUESTIONS}
    missed = {question: found for question, found in answers.items() if not {*found} & {*QUESTIONS[question]}}
    assert missed == {}


def hits(tab: Tab, question: str) -> list[str]:
    """The first three places that the search offers, as ``page#heading``."""
    tab.page.locator("dialog input").first.fill(question)
    found = tab.page.locator(f"dialog ol li a[href*='h={quote_plus(question)}']")
    found.first.wait_for()
    links = [urlsplit(link.get_attribute("href") or "") for link in found.all()[:3]]
    names = [(link.path.strip("/").removeprefix("docs/"), link.fragment) for link in links]
    return [f"{page}#{heading}" if heading else page for page, heading in names]


@pytest.mark.parametrize(("width", "dark"), LOOKS)
def test_axe_finds_nothing_on_pages_and_in_the_search(tab: Tab, address: str, width: int, dark: bool) -> None:
    tab.size(width, 900, dark=dark)
    for page in ("start", "consumers", "metrics"):
        visited(tab, f"{address}/docs/{page}/")
        assert tab.run("document.body.dataset.mdColorScheme") == ("slate" if dark else "default")
        assert violations(tab) == [], page
    open_search(tab)
    assert hits(tab, "rotation")
    assert violations(tab) == []
    tab.size(1300, 900)
