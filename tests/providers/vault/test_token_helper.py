"""Token helpers: a person's token from an external program that others can't replace."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from keyturn.cli.app import app
from keyturn.core.errors import Denied, Invalid, Unavailable
from keyturn.core.sensitive import Sensitive
from keyturn.providers.vault.hub import VaultHub
from keyturn.providers.vault.logins.helper import erase_token, get_token, store_token, token_helper
from keyturn.settings.hub import HubSettings
from keyturn.settings.hub_login import LOGIN_VARIABLES
from tests.support.world import World

HELPER = """#!/bin/sh
case "$1" in
  get) cat "{kept}" 2>/dev/null || true ;;
  store) cat > "{kept}" ;;
  erase) rm -f "{kept}" ;;
esac
"""


@pytest.fixture
def helper(tmp_path: Path) -> Path:
    """A program that keeps the token in a file, named in `~/.vault` of this home."""
    program = tmp_path / "keeps it"
    program.write_text(HELPER.format(kept=tmp_path / "kept"))
    program.chmod(0o700)
    (tmp_path / ".vault").write_text(f'# ours\ntoken_helper = "{program}"   # a keychain\n')
    return program


def test_it_is_asked_given_and_forgets(helper: Path, tmp_path: Path) -> None:
    program = token_helper(str(tmp_path / ".vault"))
    assert program == str(helper)
    assert get_token(program) == ""
    store_token(program, Sensitive("hvs.of-a-person"))
    assert get_token(program) == "hvs.of-a-person"
    erase_token(program)
    assert get_token(program) == ""
    assert token_helper(str(tmp_path / "absent")) is None


def test_commands_log_in_with_what_it_keeps(
    world: World, helper: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("VAULT_TOKEN", "VAULT_NAMESPACE", *LOGIN_VARIABLES):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("VAULT_ADDR", world.hub_address)
    monkeypatch.setenv("VAULT_CACERT", world.hub_ca or "")
    store_token(str(helper), Sensitive(world.hub_token))
    hub = VaultHub(HubSettings.from_environment())
    assert hub.identity().path.startswith("auth/token/")
    hub.close()
    (tmp_path / ".vault-token").write_text("of-a-file-that-does-not-count")
    refused = CliRunner().invoke(app, ["logout"])
    assert "not by a login" in refused.stderr  # the helper's token it is, which nobody may end so
    assert get_token(str(helper)) == world.hub_token


@pytest.mark.parametrize("place", [".vault", "keeps it"])
@pytest.mark.attack
def test_a_helper_that_others_may_write_is_not_used(helper: Path, tmp_path: Path, place: str) -> None:
    (tmp_path / place).chmod(0o722)
    with pytest.raises(Denied, match="others than its owner may write it"):
        token_helper(str(tmp_path / ".vault"))


@pytest.mark.attack
def test_a_helper_that_is_no_program_is_reported(helper: Path, tmp_path: Path) -> None:
    configuration = tmp_path / ".vault"
    configuration.write_text('token_helper = "keychain"\n')
    with pytest.raises(Invalid, match="no whole path"):
        token_helper(str(configuration))
    configuration.write_text(f'token_helper = "{tmp_path}/absent"\n')
    with pytest.raises(Invalid, match="no such token helper"):
        token_helper(str(configuration))
    helper.write_text("#!/bin/sh\nexit 3\n")
    with pytest.raises(Unavailable, match="exit 3"):
        get_token(str(helper))
    for prints in ("exec yes", r"printf '\377\376'", "echo two; echo lines"):
        helper.write_text(f"#!/bin/sh\n{prints}\n")
        with pytest.raises(Invalid, match="what it says is no token"):
            get_token(str(helper))
