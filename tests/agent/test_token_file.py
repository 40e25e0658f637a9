"""The agent's token file: invalid contents are rejected, and failed writes leave nothing."""

import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from keyturn.agent.sockets import open_loopback
from keyturn.agent.token_file import make_token, read_token, token_from
from keyturn.cli.app import app
from keyturn.cli.failures import of_the_system
from keyturn.core.errors import Invalid


def test_what_is_no_token_is_told_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="it is no file") as caught:
        read_token(tmp_path)
    assert str(tmp_path) in str(caught.value)
    with pytest.raises(Invalid, match="Set another one"):
        token_from({"AWS_TOKEN": "short"}, None)


def test_a_token_that_could_not_be_written_is_not_left_for_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int, mode: int) -> None:
        os.write(os.open("/dev/full", os.O_WRONLY), b"x")

    monkeypatch.setattr(os, "fchmod", full)
    with pytest.raises(OSError, match="No space left") as caught:
        make_token(tmp_path / "token")
    assert caught.value.filename == str(tmp_path / "token")
    assert not (tmp_path / "token").exists()


def test_where_it_can_not_listen_a_remedy_is_given() -> None:
    with open_loopback(0) as taken, pytest.raises(OSError, match="in use") as caught:
        open_loopback(taken.getsockname()[1])
    assert "choose another" in of_the_system(caught.value).hint


def test_an_error_about_an_open_file_is_told_as_any_other() -> None:
    with pytest.raises(OSError, match="No space left") as caught:
        raise OSError(28, "No space left on device", 3)
    assert "No space left" in str(of_the_system(caught.value))


@pytest.mark.parametrize(
    ("given", "words"), [(["--token-mode", "0666"], "--token-mode"), (["--cert", "a", "--key", "b"], "--listen")]
)
def test_wrong_usage_names_the_option(given: list[str], words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_ADDR", "https://127.0.0.1:1")
    done = CliRunner().invoke(app, ["agent", *given])
    assert done.exit_code == 2
    assert words in done.stderr
