"""Key pairs whose public half a REST API keeps, against a real server that checks the JWTs that they sign."""

import traceback
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from keyturn.core.errors import CandidateRejected, Invalid, Unavailable
from keyturn.core.ports.keys import KeyKind
from keyturn.core.ports.strategies import Change
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.providers.http.api_target import HttpApi
from keyturn.providers.keys.key_maker import CryptographyKeys
from keyturn.strategies.http_key_pair import FIELDS, HttpKeyPair, HttpKeyPairSettings, spki_fingerprint
from tests.contracts.strategy import Case, StrategyContract
from tests.support.key_pair_api import SLOTS, KeyPairApi, verified
from tests.support.rest_api import Said

pytestmark = pytest.mark.sampled(8, of="file")

PATH = "apps/contract"
KEYS = CryptographyKeys()
DESCRIBED = [{"pointer": "/0", "equals": ["RSA_PUBLIC_KEY_FP", "RSA_PUBLIC_KEY_2_FP"]}]

IN_SLOTS: dict[str, Any] = {
    "strategy": "http-key-pair",
    "target": "api",
    "interval": "30d",
    "grace": "1h",
    "constants": {"user": "LOADER"},
    "jwt": {"claims": {"iss": "{{user}}.{{fingerprint}}", "sub": "{{user}}"}},
    "create": {
        "path": "/statements",
        "body": {"statement": "ALTER USER {{user}} SET {{slot}}='{{public_key_line}}'"},
    },
    "test": {
        "method": "POST",
        "path": "/statements",
        "headers": {"authorization": "Bearer {{jwt}}"},
        "body": {"statement": "SELECT 1"},
    },
    "delete": {"method": "POST", "path": "/statements", "body": {"statement": "ALTER USER {{user}} UNSET {{slot}}"}},
    "list": {
        "method": "POST",
        "path": "/statements",
        "body": {"statement": "DESC USER {{user}}"},
        "items": "/data",
        "id": "/0",
        "match": {"/1": "{{fingerprint}}"},
        "in_force": DESCRIBED,
    },
    "slots": {slot: f"{slot}_FP" for slot in SLOTS},
}
"""As Snowflake has it: two slots, and SQL for everything."""

MANY: dict[str, Any] = {
    **{key: IN_SLOTS[key] for key in ("strategy", "target", "interval", "grace")},
    "constants": {"app": "app1"},
    "jwt": {"header": {"kid": "{{kid}}"}, "claims": {"iss": "{{app}}", "sub": "{{app}}", "jti": "{{unique}}"}},
    "create": {
        "path": "/apps/{{app}}/keys",
        "body": {"kid": "{{kid}}", "kty": "{{jwk.kty}}", "n": "{{jwk.n}}", "e": "{{jwk.e}}"},
    },
    "test": {"method": "POST", "path": "/token", "form": {"client_assertion": "{{jwt}}"}},
    "delete": {"path": "/apps/{{app}}/keys/{{id}}"},
    "list": {
        "path": "/apps/{{app}}/keys",
        "items": "/data",
        "id": "/id",
        "match": {"/kid": "{{kid}}"},
        "last_used": "/used",
    },
}
"""As Okta has it: any number of JWKs."""


class Tools:
    """What the strategy is opened with: the API, the time, and what makes keys."""

    def __init__(self, api: HttpApi) -> None:
        self.api = api
        self.keys = KEYS

    @staticmethod
    def clock() -> datetime:
        return datetime.now(UTC)

    def target(self, name: str) -> HttpApi:
        assert name == "api"
        return self.api


def opened(server: KeyPairApi, rotation: dict[str, Any] = IN_SLOTS, **changes: Any) -> HttpKeyPair:
    said = {key: value for key, value in {**rotation, **changes}.items() if value is not None}
    settings: HttpKeyPairSettings = TypeAdapter(HttpKeyPairSettings).validate_python(said)
    headers = {"authorization": "Bearer {{admin.token}}"}
    api = HttpApi("api", url=server.url, admin=lambda: SecretFields({"token": server.admin_token}), headers=headers)
    return settings.open(PATH, Tools(api))  # type: ignore[arg-type]


def line(fields: SecretFields) -> str:
    return "".join(fields["public_key"].reveal().strip().splitlines()[1:-1])


def serving(server: KeyPairApi) -> SecretFields:
    """A version that a person wrote: a private key alone, whose public half is in the first slot."""
    private = KEYS.private_key(KeyKind.RSA_2048)
    server.create("LOADER", "".join(KEYS.public_key(private).strip().splitlines()[1:-1]))
    return SecretFields({"private_key": private, "host": "x"})


def logs_in(server: KeyPairApi, strategy: HttpKeyPair, fields: SecretFields) -> bool:
    """What an application does, with its private key alone."""
    key = fields["private_key"]
    names = {"private_key": key, "fingerprint": spki_fingerprint(KEYS.public_key(key)), "kid": "x"}
    token = strategy._signed(strategy.fields(names))["jwt"].reveal()
    return server.takes_user(token) or server.takes_application(token)


def other_pair(candidate: SecretFields) -> SecretFields:
    """The private key of somebody else behind the same names."""
    return candidate.merged({"private_key": KEYS.private_key(KeyKind.RSA_2048)})


@pytest.fixture
def server() -> Iterator[KeyPairApi]:
    with KeyPairApi() as serving:
        yield serving


class TestInSlots(StrategyContract):
    changes = frozenset(FIELDS)
    has_place = False

    @pytest.fixture
    def case(self, server: KeyPairApi) -> Case:
        strategy = opened(server, holds={"host": "x"})
        current = serving(server)
        return Case(
            strategy,
            current,
            lambda fields: logs_in(server, strategy, fields),
            other_pair,
            stranger=current.merged({"host": "y"}),
        )


class TestAmongMany(StrategyContract):
    changes = frozenset(FIELDS)
    has_place = False

    @pytest.fixture
    def case(self, server: KeyPairApi) -> Case:
        strategy = opened(server, MANY)
        current = strategy.mint(None)
        strategy.install(Change(PATH, 1, current, None))

        def use(fields: SecretFields) -> AbstractContextManager[None]:
            assert logs_in(server, strategy, fields)
            return nullcontext()

        return Case(strategy, current, lambda fields: logs_in(server, strategy, fields), other_pair, session=use)


def test_a_new_key_takes_the_empty_slot_and_the_old_ones_is_emptied(server: KeyPairApi) -> None:
    strategy, current = opened(server), serving(server)
    change = Change(PATH, 5, strategy.mint(current), current)
    strategy.install(change)
    strategy.verify(change)
    assert server.users["LOADER"][SLOTS[1]] == line(change.candidate)
    strategy.retire(strategy.credential_id(current), 5)
    assert server.users["LOADER"] == {SLOTS[0]: None, SLOTS[1]: line(change.candidate)}
    third = strategy.mint(change.candidate)
    strategy.install(Change(PATH, 6, third, change.candidate))
    assert server.users["LOADER"] == {SLOTS[0]: line(third), SLOTS[1]: line(change.candidate)}


def test_a_slot_with_a_key_is_never_overwritten(server: KeyPairApi) -> None:
    strategy, current = opened(server), serving(server)
    server.users["LOADER"][SLOTS[1]] = persons = line(strategy.mint(None))
    with pytest.raises(Invalid, match="there are 2 keys, and no more than 2"):
        strategy.preflight(current, None)
    with pytest.raises(Invalid, match="each of its 2 slots holds a key"):
        strategy.install(Change(PATH, 5, strategy.mint(current), current))
    assert server.users["LOADER"][SLOTS[1]] == persons


def test_a_worker_that_was_suspended_after_reading_the_slots_changes_nothing(server: KeyPairApi) -> None:
    strategy, current = opened(server), serving(server)
    change = Change(PATH, 5, strategy.mint(current), current)
    strategy.window = -1
    for verb in (
        lambda: strategy.install(change),
        lambda: strategy.retire(strategy.credential_id(current), 5),
    ):
        with pytest.raises(Unavailable, match="s have passed since its keys were listed"):
            verb()
    assert logs_in(server, strategy, current)
    assert server.users["LOADER"][SLOTS[1]] is None


def test_the_private_half_is_never_sent(server: KeyPairApi) -> None:
    strategy, current = opened(server, MANY), None
    change = Change(PATH, 5, strategy.mint(current), current)
    strategy.install(change)
    strategy.verify(change)
    assert strategy.accepts(change.candidate)
    strategy.revoke(change.candidate, 6)
    body = "".join(change.candidate["private_key"].reveal().splitlines()[1:-1])
    sent = b"".join(told.body for told in server.told)
    assert change.candidate["kid"].reveal().encode() in sent
    assert not [at for at in range(0, len(body) - 40, 40) if body[at : at + 40].encode() in sent]


def test_each_try_signs_another_jwt(server: KeyPairApi) -> None:
    strategy = opened(server, MANY, test={**MANY["test"], "patience": "2s"})
    strategy.test.sleep = lambda _: None
    change = Change(PATH, 5, strategy.mint(None), None)
    strategy.install(change)
    server.instead["POST"] = [Said(401), Said(401)]
    strategy.verify(change)
    tokens = [told.body for told in server.told if told.path == "/token"]
    assert len(set(tokens)) == len(tokens) == 3


def test_a_key_that_the_api_refuses_is_rejected_without_a_word_of_it(server: KeyPairApi) -> None:
    strategy, current = opened(server), serving(server)
    change = Change(PATH, 5, strategy.mint(current), current)
    with pytest.raises(CandidateRejected, match="refuses the new key with 401") as caught:
        strategy.verify(change)
    shown = "".join(traceback.format_exception(caught.value))
    assert change.candidate["private_key"].reveal() not in shown
    broken = change.candidate.merged({"private_key": Sensitive("broken")})
    with pytest.raises(CandidateRejected, match="not PEM"):
        strategy.verify(Change(PATH, 5, broken, current))


def test_a_key_in_use_that_can_not_be_read_is_named_before_anything_changes(server: KeyPairApi) -> None:
    strategy = opened(server)
    serving(server)
    with pytest.raises(Invalid, match=r"not PEM without a passphrase\. Write the key in use into private_key"):
        strategy.preflight(SecretFields({"private_key": "broken"}), None)
    assert strategy.accepts(SecretFields({"private_key": "broken"})) is None


def test_a_key_that_is_there_already_is_sent_once(server: KeyPairApi) -> None:
    strategy = opened(server, MANY)
    change = Change(PATH, 5, strategy.mint(None), None)
    server.after["POST"] = lambda _: Said(lost=True)
    with pytest.raises(Unavailable):
        strategy.install(change)
    strategy.install(change)
    assert len(server.jwks) == 1
    server.after.clear()
    server.instead["GET"] = [Said(200, {"data": []})] * 2
    with pytest.raises(Invalid, match="refuses the public key with 409"):
        strategy.install(change)


def test_a_list_without_a_slot_is_an_error(server: KeyPairApi) -> None:
    strategy, current = opened(server), serving(server)
    del server.users["LOADER"][SLOTS[1]]
    with pytest.raises(Invalid, match="lacks the slot RSA_PUBLIC_KEY_2"):
        strategy.preflight(current, None)


def test_a_jwt_is_valid_for_as_long_as_the_catalogue_says(server: KeyPairApi) -> None:
    strategy = opened(server, MANY, jwt={**MANY["jwt"], "lifetime": "2m"})
    candidate = strategy.mint(None)
    claims = verified(strategy._signed(strategy._fields(candidate))["jwt"].reveal(), candidate["public_key"].reveal())
    assert claims is not None
    assert (claims["exp"] - claims["iat"], claims["iss"]) == (timedelta(minutes=2).total_seconds(), "app1")


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"key": "p-256"}, "can't sign with RS256"),
        ({"test": {**MANY["test"], "form": {"a": "b"}}}, "does not log in"),
        ({"test": {**MANY["test"], "form": {"a": "{{private_key}}"}}}, "which is not known there"),
        ({"create": {"path": "/x", "body": {"k": "{{private_key}}"}}}, "which is not known there"),
        ({"create": {"path": "/x", "body": {"k": "{{current.private_key}}"}}}, "which is not known there"),
        ({"create": {"path": "/x", "body": {"k": "{{kid}}"}}}, "does not hold the key"),
        ({"delete": {"path": "/x"}}, "does not name the key"),
        ({"list": {**MANY["list"], "match": {"/kid": "a"}}}, "does not say which key"),
        ({"list": {**MANY["list"], "match": {"/kid": "{{public_key}}"}}}, "which is not known there"),
        ({"jwt": {"claims": {"iss": "{{private_key}}"}}}, "which is not known there"),
        ({"slots": {"a": "1"}}, "a slot each"),
        ({"slots": {"a": "1", "b": "2"}}, "does not name the slot"),
        ({"constants": {"app": "a", "jwt": "b"}}, "has a meaning already"),
        ({"in_emergency": {"app": "b"}}, "requests other than create"),
    ],
)
def test_an_incomplete_entry_is_refused(changes: dict[str, Any], match: str) -> None:
    with pytest.raises(ValidationError, match=match):
        TypeAdapter(HttpKeyPairSettings).validate_python({**MANY, **changes})
