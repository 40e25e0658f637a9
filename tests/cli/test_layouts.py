"""Lists for people, for wide terminals and for scripts; what is said once; and what is drawn again and again."""

import io
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest
import typer

from keyturn.cli import output
from keyturn.cli.commands import first_place
from keyturn.cli.copies.grouped import CopyFailure, failure_lines
from keyturn.cli.emergencies import incident_tables
from keyturn.cli.options import Layout, layout_of
from keyturn.cli.secrets.status import redraw
from keyturn.core.errors import Unavailable
from keyturn.revocation.incidents.store import new_incident_id
from tests.cli.command import run_keyturn

NOW = datetime(2026, 11, 25, 15, 30, 12, tzinfo=UTC)
LATER = datetime(2026, 11, 25, 16, 0, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def manner(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a command line begins, in a terminal of 80 columns."""
    monkeypatch.setattr(output.MANNER, "quiet", False)
    monkeypatch.setattr(output.MANNER, "wide", False)
    monkeypatch.setenv("COLUMNS", "80")


def test_the_name_of_an_incident_is_not_folded_at_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    name, reason = new_incident_id(NOW), "somebody pasted it into a public chat, and it was read there by many"
    row = (name, output.when(NOW), "given up", 12, reason)
    output.write_table(incident_tables.LIST_COLUMNS, [row], whole=incident_tables.LIST_COLUMNS[:-1])
    lines = capsys.readouterr().out.splitlines()
    assert name in lines[2]
    assert max(map(len, lines)) <= 80


def test_a_wide_table_folds_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert layout_of(Layout.WIDE, as_json=False) is Layout.WIDE
    output.write_table(("secret", "why"), [("team/" + "x" * 90, "word " * 40)])
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_json_may_be_asked_for_in_two_ways_and_not_beside_another(capsys: pytest.CaptureFixture[str]) -> None:
    assert layout_of(Layout.TABLE, as_json=True) is layout_of(Layout.JSON, as_json=False) is Layout.JSON
    assert layout_of(Layout.JSON, as_json=True) is Layout.JSON
    with pytest.raises(typer.BadParameter, match="not both"):
        layout_of(Layout.NAME, as_json=True)
    output.write_names([])
    assert capsys.readouterr().out == ""


def test_quiet_leaves_nothing_on_stderr_but_errors_with_their_remedies() -> None:
    assert first_place(["-q", "--context", "prod", "--quiet", "status"]) == 4
    done = run_keyturn("-q", "explain", "KT999")
    assert [line.partition(":")[0] for line in done.stderr.splitlines()] == ["error", "remedy"]


def test_a_note_is_kept_back_and_an_error_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    output.MANNER.quiet = True
    output.note("using the local stack")
    output.note_error("error: it failed")
    assert capsys.readouterr().err == "error: it failed\n"


def down(name: str, kind: str = "Unavailable") -> CopyFailure:
    """A copy of a store that does not answer."""
    return CopyFailure("aws", name, f"ml/{name}", f"read aws:{name}: the service does not answer", kind)


def test_copies_of_a_store_that_is_down_are_one_line_with_their_number() -> None:
    first, second, other = down("a"), down("b"), replace(down("c"), store="gcp")
    assert failure_lines([replace(first, since=LATER), replace(second, since=NOW), other]) == [
        "2 copies in aws, the first is aws:a of ml/a: read aws:a: the service does not answer"
        " (since 2026-11-25 15:30:12 UTC)",
        "gcp:c of ml/c: read aws:c: the service does not answer",
    ]


def test_what_a_person_has_to_look_at_copy_by_copy_is_named_one_by_one() -> None:
    assert failure_lines([down("a", "conflict"), down("b", "conflict")]) == [
        "aws:a of ml/a: read aws:a: the service does not answer",
        "aws:b of ml/b: read aws:b: the service does not answer",
    ]


def test_what_remains_is_told_in_three_lines() -> None:
    lines = tuple(f"aws:x: version {number} can't be removed" for number in range(5))
    assert incident_tables.few_lines(lines[:3]) == lines[:3]
    few = incident_tables.few_lines(lines)
    assert (len(few), few[:2]) == (3, lines[:2])
    assert few[2].startswith("and 3 more, ")


class Screen(io.StringIO):
    """A stdout that is a terminal."""

    def isatty(self) -> bool:
        return True


def test_it_is_drawn_again_until_ctrl_c_and_a_look_that_fails_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: Iterator[str | BaseException] = iter(
        ["first", Unavailable("ask", "the hub", "it does not answer"), KeyboardInterrupt()]
    )

    def show() -> None:
        look = next(looks)
        if isinstance(look, BaseException):
            raise look
        output.write_text(look)

    screen = Screen()
    monkeypatch.setattr("sys.stdout", screen)
    redraw(show, 0)
    _, first, second = screen.getvalue().split("\x1b[H\x1b[2J\x1b[3J")
    assert first.endswith("Ctrl-C ends it\n\nfirst\n")
    assert "error: ask the hub: it does not answer (KT101)\n" in second


def test_only_a_terminal_is_drawn_on_and_a_first_look_that_fails_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(typer.BadParameter, match="needs a terminal"):
        redraw(lambda: None, 0)
    monkeypatch.setattr("sys.stdout", Screen())

    def fails() -> None:
        raise Unavailable("ask", "the hub", "it does not answer")

    with pytest.raises(Unavailable):
        redraw(fails, 0)


def test_what_is_of_no_one_secret_names_none() -> None:
    workloads = replace(down("workloads"), path="")
    assert failure_lines([workloads]) == ["aws:workloads: read aws:workloads: the service does not answer"]
