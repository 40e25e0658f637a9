"""The page of everything as a real browser shows it: filtered, sorted, printed, and behind the hub's login.

Tried where Chromium is at hand, installed or fetched before; a deep run fetches it from Debian.
"""

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from keyturn.pages.dashboard import Dashboard, Level, OtherLine, SecretLine
from keyturn.pages.dashboard_page import write_dashboard
from local.debian import cache
from local.support.tls import certificate_in
from tests.serving.test_dashboard import showing, viewers_token
from tests.support.lab import Lab
from tests.support.sampling import deep
from tools.browser import INSTALLED, PACKAGE, Tab, opened_browser

AT_HAND = any(map(shutil.which, (PACKAGE, *INSTALLED))) or (cache() / PACKAGE).exists()
pytestmark = pytest.mark.skipif(not AT_HAND and not deep(), reason="no Chromium at hand; a deep run fetches it")

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
EVIL = "<img src=x onerror='window.evil = 1'><script>window.evil = 1</script>"
AGES = [9, 10, None, 100, 27]


def board() -> Dashboard:
    """Five secrets, of which one is late and one has a name that wants to be markup."""
    lines = [
        SecretLine(
            f"ml/{'late' if age == 100 else number}",
            "bea" if number % 2 else "ana",
            "internal",
            "generated",
            Level.BAD if age == 100 else Level.WELL,
            ["late, due now" if age == 100 else EVIL],
            age,
            30,
            NOW + timedelta(days=number),
        )
        for number, age in enumerate(AGES)
    ]
    return Dashboard(NOW, "hub", "default", lines, [OtherLine("service", "follow", Level.WELL, "on node-1")])


@pytest.fixture(scope="module")
def tab() -> Iterator[Tab]:
    with opened_browser("127.0.0.1", distrust=False) as tab:
        tab.size(1300, 900)
        yield tab


def rows(tab: Tab, column: int = 0) -> list[str]:
    """The texts of a column of the secrets that are seen, from the top."""
    script = f"""[...document.querySelector("#secrets ~ table").tBodies[0].rows].filter((row) => row.offsetHeight)
      .map((row) => row.cells[{column}].textContent.trim())"""
    shown: list[str] = tab.run(script)
    return shown


def test_rows_are_filtered_sorted_and_printed_and_the_page_loads_nothing(tab: Tab, tmp_path: Path) -> None:
    tab.complaints.clear()
    tab.loaded.clear()
    page = tmp_path / "keyturn.html"
    page.write_text(write_dashboard(board()))
    tab.go(page.as_uri())
    assert rows(tab)[0] == "ml/late"
    tab.run("document.getElementById('filter').focus()")
    tab.type("BEA late")
    assert rows(tab) == ["ml/late"]
    assert tab.run("document.getElementById('shown').textContent") == "1 of 6 rows"
    tab.run("document.getElementById('filter').select()")
    tab.type("nothing has this")
    assert rows(tab) == []
    tab.run("document.getElementById('filter').select()")
    tab.type(" ")
    heads = tab.run(
        "[...document.querySelector('#secrets ~ table').tHead.rows[0].cells].map((head) => head.textContent)"
    )
    age = heads.index("Age")
    head = f"document.querySelector('#secrets ~ table').tHead.rows[0].cells[{age}]"
    tab.run(f"{head}.querySelector('button').click()")
    assert rows(tab, age) == ["", "9 of 30 d", "10 of 30 d", "27 of 30 d", "100 of 30 d"]
    tab.run(f"{head}.querySelector('button').focus()")
    tab.press("Enter")
    assert rows(tab, age) == ["100 of 30 d", "27 of 30 d", "10 of 30 d", "9 of 30 d", ""]
    assert tab.run(f"{head}.getAttribute('aria-sort')") == "descending"
    assert tab.run("document.documentElement.scrollWidth <= innerWidth"), "it fits a screen"
    tab.size(400, 800)
    assert tab.run("document.documentElement.scrollWidth <= innerWidth"), "it fits a phone"
    tab.size(1300, 900, paper=True)
    assert tab.run("document.getElementById('tools').offsetHeight") == 0
    assert tab.page.pdf(prefer_css_page_size=True).startswith(b"%PDF")
    tab.size(1300, 900)
    assert tab.run("window.evil === undefined")
    assert (tab.complaints, tab.loaded) == ([], [page.as_uri()])


def test_somebody_signs_in_filters_looks_again_and_signs_out(tab: Tab, lab: Lab, tmp_path: Path) -> None:
    tab.complaints.clear()
    tab.loaded.clear()
    with showing(lab, certificate_in(tmp_path / "tls"), board) as shown:
        tab.go(f"{shown.url}/")
        assert tab.run("location.pathname") == "/sign-in"
        # Typed and sent as a person does it: the browser itself says where the form was.
        tab.type(viewers_token(lab, display_name="ana"))
        tab.press("Enter")
        tab.wait("document.querySelector('.signed-in')")
        tab.run("document.getElementById('filter').focus()")
        tab.type("late")
        assert rows(tab) == ["ml/late"]
        assert tab.run("document.cookie") == ""
        tab.run("document.querySelector('.signed-in a').click()")
        tab.wait("document.getElementById('filter').value === '' && location.pathname === '/'")
        tab.run("document.querySelector('.signed-in button').click()")
        tab.wait("location.pathname === '/sign-in' && document.readyState === 'complete'")
        tab.go(f"{shown.url}/")
        assert tab.run("location.pathname") == "/sign-in"
        assert shown.lines == ["dashboard: token-ana signed in from 127.0.0.1"]
        assert tab.complaints == []
        assert all(address.startswith(shown.url) for address in tab.loaded)
