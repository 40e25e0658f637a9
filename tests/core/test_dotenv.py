"""Lines of an environment file give every value back to whom they are written for, or are not written at all."""

import string
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.core.fingerprint import payload
from keyturn.core.sensitive import SecretFields
from keyturn.core.text import dotenv
from keyturn.core.text.dotenv import Dotenv, Reader
from keyturn.core.text.passwords import PasswordPolicy, generate
from tests.support.env_files import compose, docker_new, docker_old, python_dotenv, sourced

Read = Callable[[Path], dict[str, str]]

SHELLS: Final = {"sh": sourced("sh"), "bash": sourced("bash"), "dash": sourced("dash")}
READERS: Final[dict[Reader | None, dict[str, Read]]] = {
    Reader.SHELL: SHELLS,
    Reader.PYTHON: {"python-dotenv": python_dotenv},
    Reader.COMPOSE: {"compose": compose},
    Reader.DOCKER: {"docker": docker_old, "docker since it takes quotes off": docker_new},
    None: {**SHELLS, "python-dotenv": python_dotenv, "compose": compose},
}

WRITTEN: Final = (
    *(
        "",
        " a ",
        "  ",
        "#a",
        "a #b",
        'q"',
        "q'",
        '"q"',
        "'q'",
        "b\\",
        "\\",
        "\\\\",
        "\\n",
        "\\'",
        "'\\",
        '\\"',
        "a\\'b",
    ),
    *(
        "a\nb",
        "\n",
        "a\n",
        "a\r\nb",
        "a\tb",
        "$HOME",
        "${NAME}",
        "$NAME",
        "$$",
        "$",
        "a$",
        "${",
        "$(touch ran)",
        "$((1))",
    ),
    *(
        "`touch ran`",
        "`touch ran`'",
        "'$(touch ran)'",
        '"$(touch ran)"\'',
        "\\$(touch ran)",
        "\\`touch ran`",
        "'${NAME}'",
    ),
    *(
        "x=y",
        "é☃😀",
        "!",
        "!!",
        "~",
        "~root",
        "*",
        "a;touch ran",
        "a|b&c",
        "A=b",
        "'\nB='c",
        '"\nB="c',
        "x'\n#",
        "\x01\x7f",
    ),
    string.printable.replace("\r", ""),
    string.punctuation,
    "".join(generate(PasswordPolicy()).reveal() for _ in range(3)),
)
"""Each stands first, and between two lines that must stay themselves."""


def fields(texts: tuple[str, ...]) -> dict[str, str]:
    return {f"V{number:03}": text for number, text in enumerate(texts)}


@pytest.mark.parametrize(("reader", "name"), [(reader, name) for reader, them in READERS.items() for name in them])
def test_whoever_a_file_is_for_reads_every_value_that_is_written_and_runs_nothing(
    tmp_path: Path, reader: Reader | None, name: str
) -> None:
    given = fields(tuple(text for text in WRITTEN if dotenv.refuses_text(text, reader) is None))
    assert len(given) > len(WRITTEN) / 2
    lines = Dotenv.of(payload(SecretFields(given)), reader)
    assert lines is not None
    file = tmp_path / "env"
    file.write_bytes(lines.text.reveal().encode())
    assert READERS[reader][name](file) == given
    assert [path.name for path in tmp_path.iterdir()] == ["env"]
    assert lines.joined() == payload(SecretFields(given))


@pytest.mark.parametrize("name", READERS[None])
def test_a_value_alone_is_read_as_itself(tmp_path: Path, name: str) -> None:
    # A quote that is left open takes in what follows: here nothing does.
    for number, text in enumerate(text for text in WRITTEN[:20] if dotenv.refuses_text(text, None) is None):
        lines = Dotenv.of(payload(SecretFields({"A": text})))
        assert lines is not None
        file = tmp_path / f"env{number}"
        file.write_bytes(lines.text.reveal().encode())
        assert READERS[None][name](file) == {"A": text}


@pytest.mark.parametrize(
    ("reader", "refused"),
    [
        (Reader.SHELL, ["a\0b"]),
        (Reader.COMPOSE, ["a\0b"]),
        (Reader.PYTHON, ["a\0b", "${NAME}", "a${", "a\r\nb", "b\\"]),
        (Reader.DOCKER, ["a\0b", "a\nb", "a\rb", "'q'", '"q"']),
        (None, ["a\0b", "${NAME}", "a\rb", "b\\", "'`id`", "$(id)'", "\\$", "\n'\n$"]),
    ],
)
def test_what_the_reader_would_take_for_something_else_is_refused_by_the_fields_name(
    reader: Reader | None, refused: list[str]
) -> None:
    for text in refused:
        said = dotenv.refuses(payload(SecretFields({"FIRST": "fine", "TOKEN": text})), reader)
        assert said is not None
        assert said.startswith("the field TOKEN holds ")
        assert text not in said.removeprefix("the field TOKEN holds ") or text in ("${", "\\$")


@pytest.mark.parametrize("reader", [Reader.PYTHON, None])
def test_what_is_refused_for_python_dotenv_is_what_no_quotes_keep_from_it(
    tmp_path: Path, reader: Reader | None
) -> None:
    file = tmp_path / "env"
    for written in ("'${NAME}'", '"${NAME}"', "${NAME}"):
        file.write_text(f"A={written}\n")
        assert python_dotenv(file) != {"A": "${NAME}"}
    assert dotenv.refuses_text("${NAME}", reader)


def test_a_line_that_docker_would_cut_is_refused() -> None:
    assert dotenv.refuses(payload(SecretFields({"A": "x" * 70_000})), Reader.DOCKER) is not None
    assert dotenv.refuses(payload(SecretFields({"A": "x" * 70_000})), Reader.SHELL) is None


@pytest.mark.parametrize("reader", READERS)
@given(given=st.dictionaries(st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,5}", fullmatch=True), st.text(), min_size=1))
def test_lines_lead_back_to_the_object_or_are_refused(reader: Reader | None, given: dict[str, str]) -> None:
    value = payload(SecretFields(given))
    if dotenv.refuses(value, reader):
        assert any(dotenv.refuses_text(text, reader) for text in given.values())
        return
    lines = Dotenv.of(value, reader)
    assert lines is not None
    assert lines.joined() == value


@pytest.mark.parametrize("reader", [Reader.PYTHON, Reader.COMPOSE, Reader.DOCKER])
@given(text=st.text(st.sampled_from("ab'\"\\$`{}()# \n\r\t=;NAME~é"), max_size=12))
def test_no_text_of_quotes_and_signs_is_read_as_another(
    tmp_path_factory: pytest.TempPathFactory, reader: Reader, text: str
) -> None:
    if dotenv.refuses_text(text, reader):
        return
    given = {"A": text, "Z": "last"}
    lines = Dotenv.of(payload(SecretFields(given)), reader)
    assert lines is not None
    file = tmp_path_factory.getbasetemp() / "env-of-signs"
    file.write_bytes(lines.text.reveal().encode())
    for read in READERS[reader].values():
        assert read(file) == given
    if dotenv.refuses_text(text, None) is None:
        alike = Dotenv.of(payload(SecretFields(given)))
        assert alike is not None
        file.write_bytes(alike.text.reveal().encode())
        if reader is not Reader.DOCKER:
            assert all(read(file) == given for read in READERS[reader].values())
