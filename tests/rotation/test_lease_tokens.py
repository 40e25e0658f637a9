"""Tokens of dead lease requests are revoked, and no token in use."""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import pytest

from keyturn.core.errors import Unavailable
from keyturn.core.overrides import Waive
from keyturn.core.ports.strategies import TOKEN_ACCESSOR
from keyturn.core.schedule.due import Trigger
from keyturn.providers.vault.hub import VaultHub
from keyturn.rotation.lease_tokens import end_left_tokens
from keyturn.rotation.outcome import RunState
from keyturn.rotation.retire import retire
from keyturn.rotation.run import rotate
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.record_store import load_record, rewrite
from keyturn.settings.hub import HubSettings
from keyturn.settings.hub_login import TokenLogin
from keyturn.wiring.registry import open_workspace
from local.prepare import LEASE
from tests.rotation.helpers import Worker
from tests.support.access import recorded
from tests.support.hooks import Hooked, eventually, raising
from tests.support.lab import Declared, Lab, fresh
from tests.support.world import TOKEN_VARIABLE


@dataclass
class Site:
    """A secret whose credential is a lease, and a Keyturn that asks for leases by tokens of their own."""

    lab: Lab
    secret: Declared
    hub: VaultHub

    @property
    def workspace(self) -> Workspace:
        """Opened anew, as each run does."""
        opened = self.lab.open(self.secret).workspace
        asking = open_workspace(opened.catalogue, self.hub)
        return replace(opened, hub=self.hub, open_strategy=asking.open_strategy)

    def rotate(self) -> str:
        """One rotation; the accessor of the token that it has asked with."""
        retire(self.workspace, self.secret.path, Waive.EVERYTHING)
        assert rotate(self.workspace, self.secret.path, Trigger.FORCE).state is RunState.ROTATED
        current = self.hub.read(self.secret.path)
        assert current is not None
        return current.fields[TOKEN_ACCESSOR].reveal()

    def ask(self) -> tuple[str, dict[str, Any]]:
        """What a run does that dies with the answer in its hands: the token's accessor, and an account."""
        lease = self.hub.database("database").issue(self.secret.role, self.secret.path)
        return lease.accessor, lease.fields.reveal()

    def alive(self) -> set[str]:
        """The accessors of all tokens that were made for the secret."""
        return set(self.hub.database("database").tokens(self.secret.path))


@pytest.fixture
def site(lab: Lab) -> Iterator[Site]:
    settings = HubSettings(lab.world.hub_address, login=TokenLogin(TOKEN_VARIABLE), lease_token_role=LEASE)
    with closing(VaultHub(settings)) as hub:
        yield Site(lab, lab.dynamic(), hub)


def gone(site: Site, fields: dict[str, Any]) -> bool:
    """Whether the account is refused; the hub ends a token's leases in a moment."""
    return any(not site.lab.logs_in(fields) or site.workspace.sleep(0.1) for _ in range(200))  # type: ignore[func-returns-value]


@pytest.mark.attack
def test_a_dead_runs_lease_tokens_are_ended_and_those_in_use_are_not(site: Site) -> None:
    site.rotate()
    serving = {site.rotate()}
    record = load_record(site.workspace, site.secret.path)
    assert record.rotation
    waiting = {record.rotation.ends[TOKEN_ACCESSOR]}
    orphan, fields = site.ask()
    assert site.lab.logs_in(fields)
    opened = site.workspace
    assert end_left_tokens(opened) == {site.secret.path: [orphan]}
    assert gone(site, fields)
    assert site.alive() == serving | waiting
    assert site.lab.logs_in(site.lab.current(site.secret))
    assert end_left_tokens(opened) == {}


def test_the_ledger_names_the_token_that_a_credential_was_asked_for_by(site: Site) -> None:
    retire(site.workspace, site.secret.path, Waive.EVERYTHING)
    workspace = site.workspace
    assert rotate(workspace, site.secret.path, Trigger.FORCE).state is RunState.ROTATED
    current = site.hub.read(site.secret.path)
    assert current
    assert recorded(workspace, "install")[-1][1] == f"token {current.fields[TOKEN_ACCESSOR].reveal()}"


def test_a_run_that_is_at_work_keeps_its_own(site: Site) -> None:
    site.rotate()
    retire(site.workspace, site.secret.path, Waive.EVERYTHING)
    Worker(site.workspace, site.secret.path).staged()
    assert load_record(site.workspace, site.secret.path).open
    orphan, fields = site.ask()
    before = site.alive()
    assert end_left_tokens(site.workspace) == {}
    assert orphan in before
    assert site.alive() == before
    assert site.lab.logs_in(fields)


@pytest.mark.parametrize("unseen", ["record", "version", "metadata", "deleted", "frozen"])
def test_what_can_not_be_seen_is_no_reason_to_end_anything(site: Site, unseen: str) -> None:
    site.rotate()
    orphan, _ = site.ask()
    opened, away = site.workspace, raising(Unavailable("read", "it", "the hub does not answer"))
    hidden: dict[str, Callable[..., object]] = {
        "record": lambda: Hooked(site.hub, read_state=away),
        "version": lambda: Hooked(site.hub, read=away),
        "metadata": lambda: Hooked(site.hub, describe=away),
    }
    if unseen in hidden:
        hub: Any = hidden[unseen]()
        (error,) = end_left_tokens(replace(opened, hub=hub)).values()
        assert isinstance(error, Unavailable)
    elif unseen == "deleted":
        site.hub.delete(site.secret.path, [1])
        assert end_left_tokens(opened) == {}
    else:
        record = load_record(opened, site.secret.path)
        rewrite(opened, site.secret.path, replace(record, frozen="INC-1"))
        assert end_left_tokens(opened) == {}
    assert orphan in site.alive()


def test_another_workspace_s_tokens_for_a_secret_of_the_same_name_are_its_own(site: Site) -> None:
    site.rotate()
    settings = replace(site.hub.settings, state_mount=f"keyturn-{fresh()}")
    site.lab.root.sys.enable_secrets_engine("kv", path=settings.state_mount, options={"version": "2"})
    with closing(VaultHub(settings)) as elsewhere:
        engine = elsewhere.database("database")
        assert eventually(lambda: not list(elsewhere.list_state("anything")))
        theirs = engine.issue(site.secret.role, site.secret.path)
        assert end_left_tokens(site.workspace) == {}
        assert engine.tokens(site.secret.path) == [theirs.accessor]
        assert theirs.accessor not in site.alive()
        engine.end_token(site.secret.path, theirs.accessor)
    site.lab.root.sys.disable_secrets_engine(settings.state_mount)


def test_a_token_that_nothing_records_is_found_by_its_role_and_nobody_ends_it_unasked(site: Site) -> None:
    recorded = site.rotate()
    thiefs = site.lab.root.auth.token.create(role_name=LEASE, meta={"keyturn-secret": site.secret.path})["auth"]
    found = {token.accessor for token in site.hub.issued_tokens(LEASE)}
    assert {recorded, ""} <= found
    assert end_left_tokens(site.workspace) == {}
    assert site.lab.root.auth.token.lookup_accessor(thiefs["accessor"])
    site.lab.root.auth.token.revoke_accessor(thiefs["accessor"])
