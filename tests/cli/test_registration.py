"""``keyturn setup prefect --apply`` finds the failure channel, and reports first if nothing can be sent there."""

from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest
from typer.testing import CliRunner

from keyturn.cli.app import app
from keyturn.cli.running.doctor import own_role
from keyturn.cli.setup import prefect
from keyturn.core.ports.hub import Identity
from keyturn.doctor.results import CheckResult, Grade
from keyturn.settings.prefect import PrefectSettings
from tests.cli.command import one_generated_secret, one_line, run_keyturn, surroundings

if TYPE_CHECKING:
    from keyturn.rotation.state.context import Workspace


@pytest.mark.parametrize(
    ("text", "words"),
    [("nowhere at all\n", "Apprise knows no such address"), (None, "the file that KEYTURN_FAILURE_URL_FILE names")],
    ids=["an address of no service", "no file"],
)
def test_the_failure_channels_file_is_read_and_tried_first(tmp_path: Path, text: str | None, words: str) -> None:
    file = tmp_path / "channel"
    if text is not None:
        file.write_text(text)
    env = surroundings(
        tmp_path / "home",
        KEYTURN_CATALOGUE=str(one_generated_secret(tmp_path / "catalogue")),
        PREFECT_API_URL="http://127.0.0.1:9/api",
        KEYTURN_FAILURE_URL_FILE=str(file),
    )
    done = run_keyturn("setup", "prefect", "--apply", env=env)
    one_line(done, words)
    assert "nowhere" not in done.stderr


@pytest.mark.parametrize(
    ("grades", "code"),
    [
        ([], 0),
        ([Grade.WELL, Grade.ADVICE, Grade.WAITING], 0),
        ([Grade.WAITING, Grade.FAILED], 3),
        ([Grade.FAILED, Grade.UNKNOWN], 1),
    ],
)
def test_a_plan_of_what_prefect_lacks_ends_as_one_of_the_hub_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, grades: list[Grade], code: int
) -> None:
    found = [CheckResult("prefect", f"queue {grade}", grade, "as it is") for grade in grades]
    monkeypatch.setattr(prefect, "in_prefect", lambda *_: found)
    monkeypatch.setattr(prefect, "insist_on_prefect", lambda **_: PrefectSettings("http://127.0.0.1:9/api"))
    monkeypatch.setenv("KEYTURN_HOME", str(tmp_path / "home"))
    catalogue = one_generated_secret(tmp_path / "catalogue")
    done = CliRunner().invoke(app, ["setup", "prefect", "--catalogue", str(catalogue)])
    assert done.exit_code == code, done.output
    assert ("waiting" in done.stdout) is (Grade.WAITING in grades)


@pytest.mark.parametrize(
    ("role", "login"),
    [
        ("rescuer", "revoker"),
        ("keyturn-notary", "notary"),
        ("keyturn-worker", "worker"),
        ("platform-admin", "worker"),
        ("", "worker"),
    ],
)
def test_the_doctor_checks_a_login_as_what_it_is(role: str, login: str) -> None:
    entry = SimpleNamespace(login="revoker")
    hub = SimpleNamespace(identity=lambda: Identity("", "", "", "auth/approle/login", role))
    workspace = SimpleNamespace(hub=hub, catalogue=SimpleNamespace(hub={"rescuer": entry}))
    assert own_role(cast("Workspace", workspace)) == login
