"""Managed transit keys are rotated once, and old versions end."""

import base64
import dataclasses
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from keyturn.catalogue import Catalogue
from keyturn.core.errors import Conflict, Denied, Invalid, KeyturnError, Locked, NotFound, Superseded, Unavailable
from keyturn.core.own_keys import KeyTurn
from keyturn.core.ports.managed_keys import KeyCondition, KeyFacts, ManagedKey
from keyturn.core.rights.hcl import policy
from keyturn.core.rights.rights import HubPlaces
from keyturn.core.sensitive import SecretFields
from keyturn.keys import key_rotations as key_turns
from keyturn.keys.key_rotations import MANAGED_KEYS, KeyNote, load_note, save_note
from keyturn.keys.managed_keys import KeyStanding, due_keys, key_status, rotate_key, rotate_keys
from keyturn.providers.vault.hub import VaultHub
from keyturn.rights import hub_policies as rules
from keyturn.rights.scope import scope_of
from keyturn.rotation.state.context import Workspace
from keyturn.settings.hub_login import TokenLogin
from keyturn.wiring.registry import open_workspace
from tests.support.lab import Declared, Lab, catalogue_data, fresh

pytestmark = pytest.mark.sampled(9, of="file")

WORDS = "the weights of the model"


@dataclasses.dataclass
class Transit:
    """A key of the engine, a secret with a field that it has encrypted, and workers that may do no more than needed."""

    lab: Lab
    key: str
    secret: Declared
    hub: VaultHub
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    after: timedelta = timedelta()

    @property
    def catalogue(self) -> Catalogue:
        """Of one key, whose name there is the engine's."""
        managed = {"kind": "transit", "key": self.key, "rewraps": [self.secret.path], **self.settings}
        data = catalogue_data(
            self.lab.world, (self.secret,), {"kind": "aws-secrets-manager", "region": "eu-central-1"}, {}
        )
        return Catalogue.model_validate({**data, "keys": {self.key: managed}})

    @property
    def workspace(self) -> Workspace:
        """One opened anew, as a new process would, ``after`` so much time."""
        opened = open_workspace(self.catalogue, self.hub)
        return dataclasses.replace(opened, hub_clock=lambda: self.hub.now() + self.after, holder=fresh())

    def engine(self) -> dict[str, Any]:
        """What the engine says of the key."""
        data: dict[str, Any] = self.lab.root.secrets.transit.read_key(self.key)["data"]
        return data

    def rotate_by_hand(self) -> None:
        """As somebody else does."""
        self.lab.root.secrets.transit.rotate_key(self.key)

    def opens(self) -> str:
        """What the secret's field holds, once it is decrypted."""
        text = self.sealed()
        answer = self.lab.root.secrets.transit.decrypt_data(self.key, text)["data"]["plaintext"]
        return base64.b64decode(answer).decode()

    def sealed(self) -> str:
        """The secret's field as it lies in the hub."""
        current = self.lab.hub.read(self.secret.path)
        assert current
        return current.fields["model"].reveal()

    def actions(self) -> list[str]:
        """What the engine has made: one word for each generation."""
        return sorted(self.engine()["keys"], key=int)


@pytest.fixture
def transit(lab: Lab, tmp_path: Path) -> Iterator[Transit]:
    key = fresh()
    lab.root.secrets.transit.create_key(key)
    text = lab.root.secrets.transit.encrypt_data(key, base64.b64encode(WORDS.encode()).decode())["data"]["ciphertext"]
    secret = lab.generated()
    lab.hub.write(secret.path, SecretFields({**secret.first, "model": text, "plain": "vault:1"}), cas=1)
    site = Transit(lab, key, secret, lab.hub)
    with closing(as_worker(site, tmp_path / "token")) as hub:
        site.hub = hub
        yield site


def as_worker(site: Transit, file: Path) -> VaultHub:
    """The hub by a login with the policy that is rendered for the catalogue, and no other."""
    scope = scope_of(site.catalogue, HubPlaces())
    site.lab.root.sys.create_or_update_policy(site.key, policy(rules.sections(scope, rules.WORKER)))
    made = site.lab.root.auth.token.create(policies=[site.key], no_default_policy=True, ttl="1h")
    file.write_text(made["auth"]["client_token"])
    settings = dataclasses.replace(site.lab.hub.settings, login=TokenLogin(file=str(file)))
    return VaultHub(settings)


def test_a_key_that_is_old_is_rotated_and_what_it_has_encrypted_follows(transit: Transit) -> None:
    transit.settings = {"interval": "30d", "grace": "7d"}
    (first,) = rotate_keys(transit.workspace).values()
    assert isinstance(first, KeyTurn)
    assert (first.changed, due_keys(transit.workspace)) == (False, [])
    transit.after = timedelta(days=31)
    assert due_keys(transit.workspace) == [transit.key]
    transit.after = timedelta()  # the engine stamps its generations by its own clock
    turned = rotate_key(transit.workspace, transit.key, forced=True)
    assert turned.did.startswith("generation 2 is in use")
    assert (transit.sealed()[:9], transit.opens()) == ("vault:v2:", WORDS)
    assert transit.lab.current(transit.secret)["plain"] == "vault:1"
    assert transit.engine()["latest_version"] == 2

    transit.after = timedelta(days=6)
    assert rotate_key(transit.workspace, transit.key).changed is False
    transit.after = timedelta(days=8)
    assert key_status(transit.workspace, transit.key).left == ("generations before 2 are to be put out of use",)
    assert rotate_key(transit.workspace, transit.key).did == "generations before 2 are out of use"
    assert (transit.engine()["min_decryption_version"], transit.engine()["latest_version"]) == (2, 2)
    assert transit.opens() == WORDS


class Dying(Exception):
    """The process is gone."""


DEATHS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "before the note": lambda patch: patch.setattr(key_turns, "save_note", dies),
    "before the engine is asked": lambda patch: patch.setattr(
        "keyturn.providers.vault.engines.transit_keys.TransitKey.rotate", dies
    ),
    "once it was asked": lambda patch: patch.setattr(key_turns, "save_note", dies_later(key_turns.save_note, 2)),
    "before the end is noted": lambda patch: patch.setattr(key_turns, "save_note", dies_later(key_turns.save_note, 3)),
    "before the rewrap": lambda patch: patch.setattr("keyturn.keys.managed_keys.rewrap_old", dies),
    "before the rewrapped is written": lambda patch: patch.setattr("keyturn.providers.vault.hub.VaultHub.write", dies),
}


def dies(*_: Any, **__: Any) -> Any:
    raise Dying


def dies_later(function: Callable[..., Any], calls: int) -> Callable[..., Any]:
    """The function, which is killed in the call of this number."""
    left = [calls]

    def killed(*arguments: Any, **options: Any) -> Any:
        left[0] -= 1
        if not left[0]:
            raise Dying
        return function(*arguments, **options)

    return killed


@pytest.mark.parametrize("death", DEATHS)
def test_whoever_dies_is_followed_by_the_next_and_the_engine_makes_one_generation(transit: Transit, death: str) -> None:
    rotate_key(transit.workspace, transit.key)
    doomed = dataclasses.replace(transit.workspace, holder="elsewhere/1/1", patience=0.0)
    with pytest.MonkeyPatch.context() as patch:
        DEATHS[death](patch)
        with pytest.raises((Dying, KeyturnError)):
            rotate_key(doomed, transit.key, forced=True)
    following = dataclasses.replace(transit.workspace, patience=0.0)
    rotate_key(following, transit.key, forced=transit.actions() == ["1"])
    rotate_key(following, transit.key)
    assert transit.actions() == ["1", "2"]
    assert (transit.sealed()[:9], transit.opens()) == ("vault:v2:", WORDS)
    assert load_note(following, transit.key, f"transit/keys/{transit.key}").before == ""


def test_a_rotation_by_somebody_else_is_seen_and_not_made_twice(transit: Transit) -> None:
    transit.settings = {"interval": "30d"}
    rotate_key(transit.workspace, transit.key)
    transit.rotate_by_hand()
    seen = key_status(transit.workspace, transit.key)
    assert (seen.standing, seen.due(transit.workspace.hub_now())) == (KeyStanding.IN_USE, True)
    turned = rotate_key(transit.workspace, transit.key)
    assert "generation 2 is in use, 1 was: its engine, or someone else, changed that" in turned.did
    assert transit.actions() == ["1", "2"]
    assert not key_status(transit.workspace, transit.key).due(transit.workspace.hub_now())


def test_a_rotation_that_is_open_ends_with_the_one_that_somebody_else_has_made(transit: Transit) -> None:
    workspace = transit.workspace
    name, place = transit.key, f"transit/keys/{transit.key}"
    note = KeyNote(place, seen="1", before="1", reason="too old", holder="elsewhere/1/1")
    workspace.hub.write_state(f"{MANAGED_KEYS}/{name}", note.to_data(), cas=0)
    with pytest.raises(Locked, match="elsewhere/1/1 is at it"):
        rotate_key(workspace, name)
    transit.rotate_by_hand()
    assert "the rotation that was open is over" in rotate_key(workspace, name, forced=True).did
    assert transit.actions() == ["1", "2"]


def test_a_worker_that_was_overtaken_asks_for_nothing(transit: Transit, monkeypatch: pytest.MonkeyPatch) -> None:
    fast, asked = transit.workspace, key_turns.ask_engine

    def suspended(late: Workspace, name: str, key: ManagedKey, note: KeyNote) -> list[str]:
        save_note(fast, name, dataclasses.replace(note, holder=fast.holder))
        return asked(late, name, key, note)

    monkeypatch.setattr(key_turns, "ask_engine", suspended)
    with pytest.raises(Superseded, match="another process has taken the rotation over"):
        rotate_key(transit.workspace, transit.key, forced=True)
    assert transit.actions() == ["1"]


def test_what_can_not_be_rewrapped_keeps_old_generations_in_use(transit: Transit) -> None:
    transit.settings = {"grace": "1d"}
    transit.rotate_by_hand()
    transit.after = timedelta(days=2)
    foreign = fresh()
    transit.lab.root.secrets.transit.create_key(foreign)
    other = transit.lab.root.secrets.transit.encrypt_data(foreign, base64.b64encode(b"x").decode())["data"][
        "ciphertext"
    ]
    current = transit.lab.hub.read(transit.secret.path)
    assert current
    transit.lab.hub.write(transit.secret.path, current.fields.merged({"more": other}), cas=current.version)
    with pytest.raises(Invalid, match="another key has made it"):
        rotate_key(transit.workspace, transit.key)
    assert transit.engine()["min_decryption_version"] == 1
    transit.lab.hub.delete(transit.secret.path, [current.version + 1])
    with pytest.raises(Conflict, match="its newest version is deleted"):
        rotate_key(transit.workspace, transit.key)
    assert transit.engine()["min_decryption_version"] == 1


def test_without_a_grace_nothing_is_put_out_of_use(transit: Transit) -> None:
    transit.rotate_by_hand()
    transit.after = timedelta(days=3000)
    rotate_key(transit.workspace, transit.key)
    assert transit.engine()["min_decryption_version"] == 1


class Odd:
    """A key whose engine says what the test wants."""

    name = "an engine's key"

    def __init__(self, facts: KeyFacts | KeyturnError) -> None:
        self.facts, self.asked = facts, 0

    def describe(self) -> KeyFacts:
        if isinstance(self.facts, KeyturnError):
            raise self.facts
        return self.facts

    def differences(self) -> list[str]:
        return []

    def settle(self) -> list[str]:
        return []

    def rotate(self) -> None:
        self.asked += 1


SOUND = KeyFacts("1", None, True, "an HSM keeps it")
STANDINGS: dict[str, tuple[KeyFacts | KeyturnError, str]] = {
    "disabled": (dataclasses.replace(SOUND, condition=KeyCondition.DISABLED), "the key is disabled"),
    "to be deleted": (dataclasses.replace(SOUND, condition=KeyCondition.ENDING), "the key is to be deleted"),
    "not in an HSM": (
        dataclasses.replace(SOUND, hsm=False, kept_in="software keeps it"),
        "an HSM is required, and software",
    ),
    "absent": (NotFound("look at", "it", "there is no such key"), "there is no such key"),
    "may not be looked at": (Denied("look at", "it", "AWS denies it"), "AWS denies it"),
    "unknown": (Unavailable("look at", "it", "it does not answer"), "it does not answer"),
}


@pytest.mark.parametrize("standing", STANDINGS)
def test_each_trouble_is_told_apart_and_nothing_is_rotated(transit: Transit, standing: str) -> None:
    facts, words = STANDINGS[standing]
    odd: ManagedKey = Odd(facts)
    transit.settings = {"hsm": "required"}
    workspace = dataclasses.replace(transit.workspace, open_key=lambda name: odd)
    status = key_status(workspace, transit.key)
    assert str(status.standing) == standing
    assert words in status.error
    assert status.due(workspace.hub_now())
    (error,) = rotate_keys(workspace, transit.key, forced=True).values()
    assert isinstance(error, KeyturnError)
    assert words in str(error)
    assert odd.asked == 0  # type: ignore[attr-defined]


def test_an_engine_that_took_the_request_is_not_asked_again_and_told_of_after_a_day(transit: Transit) -> None:
    odd = Odd(dataclasses.replace(SOUND, generation="a"))
    workspace = dataclasses.replace(transit.workspace, open_key=lambda name: odd)
    assert rotate_key(workspace, transit.key, forced=True).did == "its engine makes the next generation"
    rotate_key(workspace, transit.key, forced=True)
    transit.after = timedelta(days=2)
    with pytest.raises(Invalid, match="still uses generation a"):
        rotate_key(workspace, transit.key, forced=True)
    odd.facts = dataclasses.replace(SOUND, generation="b")
    assert "the rotation that was open is over" in rotate_key(workspace, transit.key).did
    assert odd.asked == 1
