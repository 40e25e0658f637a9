"""A table of thousands of rows looks like one of a few, and is drawn in a fraction of the time."""

import io

import pytest

from keyturn.cli import output

COLUMNS = ("secret", "when (UTC)", "why")
ROWS = [
    (
        f"team-{number:02}/app",
        "next     2026-12-26 23:36\nrotated  2026-11-26 23:36",
        f"in {number} days" * (number % 3),
    )
    for number in range(40)
]


@pytest.fixture(autouse=True)
def width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def drawn(capsys: pytest.CaptureFixture[str], many: int, monkeypatch: pytest.MonkeyPatch) -> str:
    """What is printed where so many rows are many."""
    monkeypatch.setattr(output, "MANY", many)
    output.write_table(COLUMNS, ROWS, whole=("when (UTC)",))
    return capsys.readouterr().out


def test_many_rows_look_as_few_do(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    few, many = drawn(capsys, 1000, monkeypatch), drawn(capsys, 10, monkeypatch)
    head, rule, *body = few.splitlines()
    assert many.splitlines()[0] == head
    assert many.splitlines()[2:] == body
    assert set(many.splitlines()[1]) == set(rule.strip()) == {"─"}


def test_long_cells_are_folded_to_the_terminal_and_never_cut(capsys: pytest.CaptureFixture[str]) -> None:
    name, why = f"team/{'x' * 90}", " ".join(f"word{number}" for number in range(40))
    output.write_table(COLUMNS, [(name, "next     2026-12-26 23:36", why)] * (output.MANY + 1), whole=("when (UTC)",))
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    one = lines[2 : 2 + (len(lines) - 2) // (output.MANY + 1)]
    first, last = (len(lines[0].split(word)[0]) for word in ("when", "why"))
    assert "".join(line[:first].strip() for line in one) == name
    assert " ".join(line[last:].strip() for line in one).split() == why.split()
    assert "next     2026-12-26 23:36" in one[0]


def test_what_could_steer_a_terminal_is_not_printed_in_a_large_table_either(capsys: pytest.CaptureFixture[str]) -> None:
    output.write_table(("a",), [("\x1b[31mred",)] * (output.MANY + 1))
    assert "\x1b" not in capsys.readouterr().out


class Screen(io.StringIO):
    """A stdout that is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("a\x1b[2Jb", "a\\x1b[2Jb"),
        ("-----BEGIN\n\tkey\n", "-----BEGIN\n\tkey\n"),
        ("right\u202eleft", "right\\u202eleft"),
        ("over\rwritten", "over\\rwritten"),
        ("p\xe4ssword", "p\xe4ssword"),
    ],
)
def test_a_value_steers_no_terminal_and_a_pipe_gets_it_as_it_is(
    value: str, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert output.for_terminal(value) == value
    monkeypatch.setattr("sys.stdout", Screen())
    assert output.for_terminal(value) == shown
