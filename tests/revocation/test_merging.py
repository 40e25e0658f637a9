"""A leaked credential whose copy is single keys in a secret that others own: their keys and versions stay."""

import json
from typing import Any

import pytest

from keyturn.core.ports.merged_keys import sharing
from keyturn.core.schedule.due import Trigger
from keyturn.revocation.incidents.incident import Mode
from keyturn.rotation.copies.push import CopyState, sync_destinations
from keyturn.rotation.outcome import RunState
from keyturn.rotation.run import rotate
from keyturn.rotation.state.copy_parts import parts_in
from tests.revocation.site import CONSUMERS, Site
from tests.support.lab import Lab

SHARED = "others-application"
OWNERS = {"THEIRS": "one", "USER_OF_OTHERS": "ann"}


def destination(**more: Any) -> dict[str, Any]:
    fields = {"DB_USER": "username", "DB_PASSWORD": "password"}
    return {"store": "memory", "name": SHARED, "fields": fields, "merge": True, **more}


@pytest.fixture
def site(lab: Lab) -> Site:
    """The owner's secret, in which a credential has had two values."""
    secret = lab.alternating().having(destinations=[destination()], consumers=["app"])
    opened = lab.open(secret, consumers=CONSUMERS)
    opened.store.put_by_hand(SHARED, json.dumps(OWNERS, indent=2))
    sync_destinations(opened.workspace, secret.path)
    assert rotate(opened.workspace, secret.path, Trigger.FORCE).state is RunState.ROTATED
    return Site(lab, secret, opened)


def served(site: Site) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(site.store.read(SHARED).reveal())
    return made


def test_a_rotation_carries_the_new_value_into_it(lab: Lab, site: Site) -> None:
    assert served(site) == OWNERS | {
        "DB_USER": lab.current(site.secret)["username"],
        "DB_PASSWORD": lab.current(site.secret)["password"],
    }


def test_a_replacement_takes_the_keys_and_old_versions_are_named_as_the_owners(lab: Lab, site: Site) -> None:
    leaked = served(site)["DB_PASSWORD"]
    before = set(site.store.old_versions(SHARED))
    stands = site.revoke()
    assert (stands.left, stands.open) == ((), False)
    assert served(site)["DB_PASSWORD"] == lab.current(site.secret)["password"] != leaked
    assert OWNERS.items() <= served(site).items()
    assert before < set(site.store.old_versions(SHARED))
    said = [one for one in stands.secrets[0].remains if "others' secret" in one]
    holding = [name for name, text in site.store.old_versions(SHARED).items() if "DB_PASSWORD" in text.reveal()]
    assert holding
    assert all(any(f"version {name} " in words for words in said) for name in holding)
    assert not [words for words in said if leaked in words]


def test_without_a_replacement_the_keys_go_and_the_secret_stays(site: Site) -> None:
    stands = site.revoke(Mode.REVOKE_ONLY)
    assert (stands.left, stands.open) == ((), False)
    assert served(site) == OWNERS
    shares = sharing(site.store)
    assert shares is not None
    assert list(parts_in(shares)) == []
    assert stands.secrets[0].remains


def test_keys_that_nothing_declares_any_more_go_too(lab: Lab, site: Site) -> None:
    moved = site.declaring([destination(name="elsewhere")])
    sync_destinations(moved.workspace, site.secret.path)
    moved.revoke()
    assert served(site) == OWNERS


def test_what_was_put_there_by_others_is_left_alone(lab: Lab, site: Site) -> None:
    site.store.put_by_hand(SHARED, json.dumps(OWNERS | {"DB_PASSWORD": "theirs"}))
    with_theirs = site.declaring([destination(fields={"DB_PASSWORD": "password", "THEIRS": "username"})])
    (pushed,) = sync_destinations(with_theirs.workspace, site.secret.path)
    assert (pushed.state, "key THEIRS is there" in pushed.error) == (CopyState.FAILED, True)
    assert served(site) == OWNERS | {"DB_PASSWORD": "theirs"}
