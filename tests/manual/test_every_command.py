"""Every command in the manual is run by a test, or listed with a reason.

The pages are typed on one local stack, which a real Prometheus scrapes meanwhile. ``make test`` takes this file as one
of those of which it draws a sample.
"""

import re
import shlex
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from keyturn.cli.app import app
from local.home import Stack, opened
from tests.cli.command import ROOT, run_keyturn, surroundings
from tests.manual.lines import ELSEWHERE, OTHERWISE, elsewhere, lines_of, pages, started_otherwise
from tests.manual.pages import PAGES
from tests.manual.prometheus import EMPTY, PATIENCE, Scraper, dashboards, scraping
from tests.manual.site import Page, site_in, type_page
from tests.support.hooks import eventually
from tests.test_documents import unknown_in

TYPED = {page.name for page in PAGES}


def here(page: str) -> list[str]:
    """The commands of a page that are typed on the stack."""
    return [line for line in lines_of(page) if not elsewhere(page, line)]


@pytest.mark.parametrize("page", pages())
def test_each_command_of_the_manual_has_one_place_where_it_is_run(page: str) -> None:
    for line in lines_of(page):
        places = elsewhere(page, line)
        assert len(places) <= 1, line
        assert places or page in TYPED, f"{page}: nobody runs `{line}`: name it in tests/manual"


def test_what_no_shell_starts_has_the_options_that_it_names() -> None:
    names = {command.name or getattr(command.callback, "__name__", "") for command in app.registered_commands}
    names |= {group.name for group in app.registered_groups}
    for page in [*pages(), *OTHERWISE]:
        commands = [re.sub(r"^.*&& keyturn ", "", text) for text in started_otherwise(page)]
        named = [re.sub(r"^.*&& keyturn ", "", text) for text in OTHERWISE.get(page, [])]
        assert [command for command in commands if command.split()[0] in names] == named, page
        assert not [option for command in named for option in unknown_in(shlex.split(command))], page


def test_what_is_named_is_there() -> None:
    assert {place.page for place in ELSEWHERE} | TYPED <= set(pages())
    for place in ELSEWHERE:
        file, _, test = place.test.partition("::")
        text = (ROOT / file).read_text()
        assert re.search(rf"(?m)^ *(async )?def {test}\(", text), place.test
        assert f'lines_of("{place.page}"' in text, f"{file} takes no line from {place.page}: it may run another"
        for begin in place.begin:
            assert any(line.startswith(begin) for line in lines_of(place.page)), f"{place.page} has no `{begin}`"
    assert max(Counter(page.name for page in PAGES).values()) == 1
    assert all(here(page.name) for page in PAGES)
    assert sum(len(lines_of(page)) for page in pages()) > 200


# --- on a stack


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A whole stack, as the first page starts it."""
    home = tmp_path_factory.mktemp("stack") / "home"
    env = surroundings(home)
    done = run_keyturn("up", env=env)
    try:
        assert done.returncode == 0, done.stderr
        yield opened(home)
    finally:
        run_keyturn("down", "--delete", env=env)


@pytest.fixture(scope="module")
def scraper(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scraper]:
    """A Prometheus with our alerts, which asks the stack's `serve` and a worker."""
    with scraping(stack, tmp_path_factory.mktemp("prometheus")) as running:
        yield running


@pytest.mark.slow
@pytest.mark.sampled(37, of="files")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_commands_of_a_page_do_what_it_says(page: Page, stack: Stack, tmp_path: Path) -> None:
    type_page(page, here(page.name), site_in(tmp_path, stack))


@pytest.mark.slow
@pytest.mark.sampled(37, of="files")
def test_every_panel_and_every_alert_is_answered_by_a_prometheus_that_scrapes_a_stack(
    stack: Stack, scraper: Scraper
) -> None:
    assert run_keyturn("status", env=surroundings(stack.home)).returncode in (0, 1)  # someone reads what is watched
    scraper.await_all_up()

    def unanswered() -> list[str]:
        """The panels that show nothing yet, though something could be shown."""
        asked = ((board, expression) for board, listed in dashboards().items() for expression in listed)
        return [f"{board}: {each}" for board, each in asked if each not in EMPTY and not scraper.rows(each)]

    assert eventually(lambda: not unanswered(), PATIENCE), unanswered()
    health = scraper.rule_health()
    assert len(health) >= 45
    assert set(health.values()) == {"ok"}, health
    assert set(EMPTY) <= {expression for listed in dashboards().values() for expression in listed}
