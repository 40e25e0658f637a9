"""A hub that was killed while it ended tokens lists accessors without a token: that is told from a missing right."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from deployments.local.openbao import OpenBao
from deployments.local.prepare import LEASE, REVOKER
from keyturn.core.errors import Denied
from keyturn.providers.vault.hub import VaultHub
from keyturn.settings.hub import HubSettings
from keyturn.settings.hub_login import TokenLogin
from tests.support.engines import worker_hub
from tests.support.hooks import eventually
from tests.support.killed_hub import durable_server, kill_until_stale, stale_accessors
from tests.support.lab import Lab, fresh
from tests.support.own_lab import own_lab

ACCESSORS = 'path "auth/token/accessors" { capabilities = ["list", "sudo"] }\n'
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


@pytest.mark.parametrize("may_ask", [True, False])
def test_a_right_that_is_missing_is_not_taken_for_a_stale_accessor(
    killed: Killed, tmp_path: Path, *, may_ask: bool
) -> None:
    name = f"no-lookup-{fresh()}"
    killed.lab.root.sys.create_or_update_policy(name, ACCESSORS + SELF + (RIGHTS if may_ask else ""))
    made = killed.lab.root.auth.token.create(policies=[name], no_default_policy=True)["auth"]["client_token"]
    (tmp_path / "token").write_text(made)
    settings = HubSettings(killed.lab.world.hub_address, login=TokenLogin(file=str(tmp_path / "token")))
    with closing(VaultHub(settings)) as hub, pytest.raises(Denied, match=r"lookup-accessor|capabilities-self"):
        hub.database("database").tokens("apps/any")


def test_tidying_tokens_clears_the_accessors_and_a_living_token_is_still_found(killed: Killed, tmp_path: Path) -> None:
    with worker_hub(killed.lab, tmp_path, LEASE, REVOKER) as hub:
        engine, secret = hub.database("database"), killed.lab.dynamic()
        lease = engine.issue(secret.role, secret.path)
        assert engine.tokens(secret.path) == [lease.accessor]
        for accessor in killed.stale:
            assert engine.find_token(accessor) is None
            engine.end_token(accessor)
        killed.lab.root.adapter.post("/v1/auth/token/tidy")
        assert eventually(lambda: not set(killed.stale) & set(stale_accessors(killed.server)), 30)
        assert engine.tokens(secret.path) == [lease.accessor]
