"""Accessors without a token, left by a killed hub, differ from a missing right."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from keyturn.core.errors import Denied
from keyturn.providers.vault.hub import VaultHub
from keyturn.settings.hub import HubSettings
from keyturn.settings.hub_login import TokenLogin
from local.openbao import OpenBao
from tests.support.hooks import eventually
from tests.support.killed_hub import durable_server, kill_until_stale, stale_accessors
from tests.support.lab import Lab, fresh
from tests.support.own_lab import own_lab

LOOK_UP = 'path "auth/token/lookup-accessor" { capabilities = ["update"] }\n'
SELF = 'path "auth/token/lookup-self" { capabilities = ["read"] }\n'
RIGHTS = 'path "sys/capabilities-self" { capabilities = ["update"] }\n'


@dataclass(frozen=True)
class Killed:
    """A hub on disk after it was killed, and the accessors that have no token any more."""

    lab: Lab
    server: OpenBao
    stale: list[str]


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Killed]:
    directory = tmp_path_factory.mktemp("killed")
    with own_lab(directory, on_disk=True) as lab:
        server = durable_server(lab, directory)
        yield Killed(lab, server, kill_until_stale(server))


@contextmanager
def hub_with(killed: Killed, directory: Path, rules: str) -> Iterator[VaultHub]:
    """The hub with a login that has these rules alone."""
    name = f"looks-up-{fresh()}"
    killed.lab.root.sys.create_or_update_policy(name, SELF + rules)
    made = killed.lab.root.auth.token.create(policies=[name], no_default_policy=True)["auth"]["client_token"]
    (directory / "token").write_text(made)
    settings = HubSettings(killed.lab.world.hub_address, login=TokenLogin(file=str(directory / "token")))
    with closing(VaultHub(settings)) as hub:
        yield hub


@pytest.mark.parametrize("may_ask", [True, False])
def test_a_right_that_is_missing_is_not_taken_for_a_stale_accessor(
    killed: Killed, tmp_path: Path, *, may_ask: bool
) -> None:
    with (
        hub_with(killed, tmp_path, RIGHTS if may_ask else "") as hub,
        pytest.raises(Denied, match=r"lookup-accessor|capabilities-self"),
    ):
        hub.grants().login_of(killed.stale[0])


def test_a_stale_accessor_has_no_token_and_a_living_one_is_still_found(killed: Killed, tmp_path: Path) -> None:
    with hub_with(killed, tmp_path, LOOK_UP + RIGHTS) as hub:
        living = killed.lab.root.auth.token.create(policies=["default"])["auth"]["accessor"]
        assert [hub.grants().login_of(accessor) for accessor in killed.stale] == [None] * len(killed.stale)
        killed.lab.root.adapter.post("/v1/auth/token/tidy")
        assert eventually(lambda: not set(killed.stale) & set(stale_accessors(killed.server)), 30)
        assert hub.grants().login_of(living)
