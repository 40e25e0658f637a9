"""Unexpected success answers are reported, and never taken as an empty result."""

from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from keyturn.core.errors import Unavailable
from keyturn.core.ports.engines import IssuedLease
from keyturn.core.ports.hub import Right
from keyturn.core.sensitive import SecretFields
from keyturn.providers.vault.hub import VaultHub
from keyturn.settings.hub import HubSettings
from keyturn.settings.hub_login import TokenLogin
from tests.support.clients import LOOKS, TOKEN, describe_key_vault, list_vault, read_key_vault
from tests.support.liar import Liar, answers_in_turn
from tests.wall.conftest import Serve

LOGIN = {"data": {"ttl": 0, "renewable": False, "policies": ["p"], "path": "auth/token/create"}}
"""What a Vault says of a token."""
STRANGE: dict[str, Any] = {
    "another server's": {"status": "s3cr3t"},
    "a list": ["s3cr3t"],
    "a text": "s3cr3t",
    "nothing": None,
    "a text as data": {"data": "s3cr3t", "auth": "s3cr3t"},
    "nothing as data": {"data": None, "auth": None},
    "texts in data": {"data": {"data": "s3cr3t", "metadata": "s3cr3t", "keys": 5, "versions": "s3cr3t", "key_info": 7}},
    "numbers in metadata": {"data": {"data": {}, "metadata": {"version": "s3cr3t", "created_time": 7}, "version": []}},
}
LEASE = IssuedLease("database/creds/role/1", SecretFields({}), timedelta(minutes=1), renewable=True)
VERBS: dict[str, Callable[[VaultHub], object]] = {
    "read": lambda hub: hub.read("app/db"),
    "describe": lambda hub: hub.describe("app/db"),
    "describe all": lambda hub: list(hub.describe_below()),
    "write": lambda hub: hub.write("app/db", SecretFields({"x": "1"}), cas=0),
    "read state": lambda hub: hub.read_state("rotations/app/db"),
    "write state": lambda hub: hub.write_state("rotations/app/db", {"x": "1"}, cas=1),
    "list state": lambda hub: list(hub.list_state("rotations")),
    "key": lambda hub: hub.fingerprint_keys(),
    "rights": lambda hub: hub.missing_capabilities([Right("read", "secret/data/app/db")]),
    "identity": lambda hub: hub.identity().words,
    "sign": lambda hub: hub.signer("keyturn-ledger").sign(b"x"),
    "lease": lambda hub: hub.database("database").issue("role"),
    "lease of a job": lambda hub: hub.issue_lease("database/creds/role"),
    "renewal": lambda hub: hub.renew_lease(LEASE, timedelta(minutes=1)),
}

CHANGES: dict[str, Callable[[VaultHub], object]] = {
    "annotate": lambda hub: hub.patch_metadata("app/db", {"x": "1"}),
    "destroy": lambda hub: hub.destroy("app/db", [1]),
    "undelete": lambda hub: hub.undelete("app/db", [1]),
    "remove": lambda hub: hub.delete_state("rotations/app/db"),
    "end a lease": lambda hub: hub.database("database").revoke(LEASE.lease_id),
}
"""What the hub answers with nothing."""


@pytest.fixture
def answering(tmp_path: Path) -> Iterator[Callable[[Any], VaultHub]]:
    """A hub whose every answer after the login is this one."""
    (tmp_path / "token").write_text(TOKEN)
    answer: list[Any] = []
    with Liar(answers_in_turn(lambda _, number: LOGIN if number == 1 else answer[0])) as server:
        settings = HubSettings(server.url, login=TokenLogin(file=str(tmp_path / "token")))
        with closing(VaultHub(settings)) as hub:

            def answers(body: Any) -> VaultHub:
                answer[:] = [body]
                return hub

            yield answers


@pytest.mark.parametrize("verb", VERBS)
def test_an_unexpected_answer_of_the_hub_is_reported(answering: Callable[[Any], VaultHub], verb: str) -> None:
    for body in STRANGE.values():
        with pytest.raises(Unavailable) as raised:
            VERBS[verb](answering(body))
        assert "s3cr3t" not in str(raised.value)


@pytest.mark.parametrize("verb", CHANGES)
def test_an_unexpected_answer_does_not_count_as_a_completed_change(
    answering: Callable[[Any], VaultHub], verb: str
) -> None:
    for body in ("another server's", "a list", "a text", "nothing"):
        with pytest.raises(Unavailable) as raised:
            CHANGES[verb](answering(STRANGE[body]))
        assert "s3cr3t" not in str(raised.value)


@pytest.mark.parametrize("body", STRANGE.values(), ids=list(STRANGE))
@pytest.mark.parametrize("act", LOOKS)
def test_an_unexpected_answer_of_a_store_is_reported(serve: Serve, act: Any, body: Any) -> None:
    _, place = serve(answers_in_turn(lambda _, number: LOGIN if number == 1 and act is list_vault else body), act)
    with pytest.raises(Unavailable) as raised:
        act(place)
    assert "s3cr3t" not in str(raised.value)


@pytest.mark.parametrize("act", [describe_key_vault, read_key_vault])
def test_an_empty_answer_is_not_taken_for_a_key_vault_secret(serve: Serve, act: Any) -> None:
    _, place = serve(answers_in_turn(lambda *_: {"value": []}), act)
    with pytest.raises(Unavailable):
        act(place)
