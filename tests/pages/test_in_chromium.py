"""The page of everything as a real browser shows it: filtered, sorted, printed, and behind the hub's login."""

import os
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from keyturn.catalogue import Catalogue
from keyturn.cli.secrets.dashboard import unchecked_board
from keyturn.core.errors import NotFound, Unavailable
from keyturn.pages.dashboard import Dashboard, Level, OtherLine, SecretLine
from keyturn.pages.dashboard_page import remark_page, sign_in_page, write_dashboard
from local.support.tls import certificate_in
from tests.pages.accessibility import LOOKS, violations
from tests.serving.test_dashboard import showing, viewers_token
from tests.support.lab import Lab
from tools.browser import Tab, chromium, opened_browser

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


PAGE = "https://prefect.example/artifacts/key/secret-"
STATES = ["version 12", "3 d old", "due in 87 d", "logs in", "last tried 2026-03-01 11:12"]
REFUSED = [*STATES[:2], "late, due now", "DOES NOT LOG IN", "since 2026-02-27 10:00", "old credential is being ended"]
LONG = "payments/checkout/production/europe/webhook-signing-key-of-the-provider"


def line(path: str, level: Level, states: Sequence[str]) -> SecretLine:
    """A secret with all that the page shows of one."""
    return SecretLine(
        path,
        f"the-{level}-team-of-the-platform@example.com",
        "restricted",
        "gcp-service-account-key",
        level,
        states,
        100,
        90,
        NOW,
        ["aws in sync", "azure-germany-west-central in sync"],
        ["trainer notified"],
        "2 of 2 in sync",
        "1 of 1 notified",
    )


def healthy() -> Dashboard:
    """Everything is in order."""
    lines = [line(f"ml/{number}", Level.WELL, STATES) for number in range(4)]
    others = [OtherLine("service", "follow", Level.WELL, "on node-1")]
    return Dashboard(NOW, "https://hub.example", "default", lines, others, [("in sync", 8)])


def trouble() -> Dashboard:
    """Every level, long names, and more that could not be read than fits."""
    lines = [line(LONG, Level.BAD, REFUSED), line("ml/soon", Level.SOON, [*STATES, "staged since 2026-03-01 11:12"])]
    lines += [line("ml/unknown", Level.UNKNOWN, ["unknown: " + "the hub does not answer " * 9]), *healthy().secrets]
    others = [OtherLine("service", str(level), level, "on node-1") for level in Level]
    unseen = [f"store-{number}: refused" for number in range(40)]
    pages = {each.path: f"{PAGE}{each.path.replace('/', '-')}" for each in lines}
    copies = [("in sync", 7), ("update", 1)]
    return Dashboard(NOW, "https://hub.example", "default", lines, others, copies, unseen, pages)


def hub_down() -> Dashboard:
    """The page that is written without a hub."""
    rotation = {"strategy": "generated", "interval": "30d", "grace": "1h"}
    facts = {"owner": "ana", "classification": "internal", "rotation": rotation}
    secrets = {path: {"path": path, **facts} for path in ("ml/a", "ml/b", LONG)}
    error = Unavailable("read", "the hub", "it does not answer", "Start it")
    return unchecked_board(Catalogue.model_validate({"secrets": secrets}), error)


PAGES: dict[str, Callable[[], str]] = {
    "healthy": lambda: write_dashboard(healthy()),
    "trouble": lambda: write_dashboard(trouble()),
    "hub down": lambda: write_dashboard(hub_down()),
    "sign in": lambda: sign_in_page("The hub refused this token.", 15, 8).html,
    "not available": lambda: remark_page("Nothing could be checked", "the hub does not answer").html,
}


@pytest.fixture(scope="module")
def tab() -> Iterator[Tab]:
    """A browser; where it can't be had, tests are skipped, and fail where CI=true."""
    try:
        chromium()
    except (NotFound, Unavailable) as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))
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


def opened(tab: Tab, directory: Path, html: str) -> None:
    """Show a page from a file."""
    page = directory / "keyturn.html"
    page.write_text(html)
    tab.go(page.as_uri())


@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing_at_any_width_and_in_either_colour_scheme(tab: Tab, tmp_path: Path, name: str) -> None:
    for width, dark in LOOKS:
        tab.size(width, 900, dark=dark)
        opened(tab, tmp_path, PAGES[name]())
        assert violations(tab) == []
        tab.run("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
        assert violations(tab) == []
    tab.size(1300, 900)


def test_axe_finds_an_image_without_a_text(tab: Tab, tmp_path: Path) -> None:
    opened(tab, tmp_path, PAGES["healthy"]().replace("</main>", "<img></main>"))
    assert [found.partition(":")[0] for found in violations(tab)] == ["image-alt"]


def test_a_secret_takes_two_lines_and_opening_its_details_shows_the_whole_row(tab: Tab, tmp_path: Path) -> None:
    tab.size(1280, 900)
    opened(tab, tmp_path, write_dashboard(trouble()))
    table = "document.querySelector('#secrets ~ table').tBodies[0]"
    taller = f"""[...{table}.rows].filter((row) => {{
      const style = getComputedStyle(row.cells[0]);
      const padding = parseFloat(style.paddingTop) + parseFloat(style.paddingBottom);
      return row.offsetHeight - padding > 2 * parseFloat(style.lineHeight) + 4;
    }}).map((row) => row.textContent)"""
    assert tab.run(taller) == []
    wider = f"[...{table}.querySelectorAll('td')].filter((cell) => cell.scrollWidth > cell.clientWidth + 1).length"
    assert tab.run(wider) == 0
    cells = f"[...{table}.rows[0].querySelectorAll('.two')]"
    hidden = f"{cells}.filter((each) => each.scrollHeight > each.clientHeight + 1)"
    assert tab.run(f"{hidden}.length") > 1
    tab.run(f"{table}.rows[0].querySelector('.states summary').focus()")
    tab.press("Enter")
    assert tab.run(f"{hidden}.length") == 0
    tab.size(1300, 900)


def test_every_heading_sorts_by_keyboard_under_its_name(tab: Tab, tmp_path: Path) -> None:
    opened(tab, tmp_path, write_dashboard(trouble()))
    headings = tab.page.get_by_role("columnheader")
    names = headings.all_text_contents()
    assert names[-9:] == [
        "Secret",
        "Status",
        "Details",
        "Age",
        "Next rotation",
        "Copies",
        "Consumers",
        "Owner",
        "Kind",
    ]
    for number, name in enumerate(names):
        button = headings.nth(number).get_by_role("button", name=name, exact=True)
        button.focus()
        for key, order in (("Enter", "ascending"), ("Space", "descending")):
            tab.press(key)
            assert headings.nth(number).get_attribute("aria-sort") == order
    sorted_heading = tab.page.get_by_role("columnheader", name="Kind", exact=True).last
    assert sorted_heading.get_attribute("aria-sort") == "descending"


def test_each_secret_links_to_its_page_in_prefect(tab: Tab, tmp_path: Path) -> None:
    opened(tab, tmp_path, write_dashboard(trouble()))
    for secret in trouble().secrets:
        link = tab.page.get_by_role("link", name=secret.path, exact=True)
        assert link.get_attribute("href") == trouble().pages[secret.path]


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
