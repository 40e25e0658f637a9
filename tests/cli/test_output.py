"""What tables and values look like on a terminal."""

import io

import pytest

from keyturn.cli import output

COLUMNS = ("secret", "when (UTC)", "why")


@pytest.fixture(autouse=True)
def width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def test_long_cells_are_folded_to_the_terminal_and_never_cut(capsys: pytest.CaptureFixture[str]) -> None:
    name, why = f"team/{'x' * 90}", " ".join(f"word{number}" for number in range(40))
    output.write_table(COLUMNS, [(name, "next     2026-12-26 23:36", why)] * 2, whole=("when (UTC)",))
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    one = lines[2 : 2 + (len(lines) - 2) // 2]
    first, last = (len(lines[0].split(word)[0]) for word in ("when", "why"))
    assert "".join(line[:first].strip() for line in one) == name
    assert " ".join(line[last:].strip() for line in one).split() == why.split()
    assert "next     2026-12-26 23:36" in one[0]


def test_a_word_longer_than_its_column_can_be_copied(capsys: pytest.CaptureFixture[str]) -> None:
    variable = "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED=events,flow_runs"
    path = f"team/{'x' * 35}"
    output.write_table(("", "what", "how it is"), [("advice", path, f"Set {variable} and restart the server")])
    said = capsys.readouterr().out
    assert path in said
    assert variable in said
    assert max(map(len, said.splitlines())) < len(path) + len(variable) + 20


def test_what_could_steer_a_terminal_is_not_printed_in_a_table_either(capsys: pytest.CaptureFixture[str]) -> None:
    output.write_table(("a",), [("\x1b[31mred",)])
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
