"""The login to an API, against a real authorization server next to the API."""

import json
import secrets
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl

import jwt
import pytest
from pydantic import TypeAdapter

from keyturn.core.errors import Denied, Invalid, KeyturnError, Throttled, Unavailable
from keyturn.core.ports.keys import KeyKind
from keyturn.core.ports.rest import Listing, Request
from keyturn.core.sensitive import SecretFields
from keyturn.providers.http.api_target import HttpApi
from keyturn.providers.keys.key_maker import CryptographyKeys
from keyturn.settings.api_logins import ApiLoginSettings
from tests.support.rest_api import RestApi, Said, Told

NOW = datetime(2026, 12, 3, 12, 0, tzinfo=UTC)
KEYS = CryptographyKeys()
RSA = KEYS.private_key(KeyKind.RSA_2048)
ADMIN = {"id": "the-client", "secret": "the-client-s3cret", "private_key": RSA.reveal(), "app": "4711"}
LIST = Listing(Request("GET", "/accounts/a/keys"), "/data")
SETTINGS: TypeAdapter[Any] = TypeAdapter(ApiLoginSettings)


@dataclass
class Authority(RestApi):
    """An authorization server: each token that it gives is the only one that the API accepts."""

    api: RestApi | None = None
    said: dict[str, Any] = field(default_factory=lambda: {"expires_in": 3600})

    def _answered(self, told: Told) -> Said:
        assert self.api is not None
        self.api.admin_token = f"token-{secrets.token_hex(8)}"
        return Said(200, {"access_token": self.api.admin_token, **self.said})


@dataclass
class Place:
    """The API, its authority, and the time."""

    api: RestApi
    authority: Authority
    now: datetime = NOW
    admin: dict[str, str] = field(default_factory=lambda: dict(ADMIN))

    def opened(self, **login: Any) -> HttpApi:
        settings = SETTINGS.validate_python(login)
        headers = {"authorization": "Bearer {{login.token}}"}
        admin: Callable[[], SecretFields] = lambda: SecretFields(self.admin)  # noqa: E731
        return HttpApi("api", url=self.api.url, admin=admin, headers=headers, login=settings, clock=lambda: self.now)

    def by_secret(self, **changes: Any) -> HttpApi:
        return self.opened(
            **{
                "kind": "client-credentials",
                "url": f"{self.authority.url}/oauth/token",
                "basic": "{{admin.id}}:{{admin.secret}}",
                "form": {"scope": "keys"},
                **changes,
            }
        )

    def by_jwt(self, **changes: Any) -> HttpApi:
        exchange = {
            "url": f"{self.authority.url}/token",
            "form": {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": "{{jwt}}"},
        }
        claims = {"iss": "{{admin.app}}", "aud": "https://api.example.com/token", "jti": "{{unique}}"}
        return self.opened(**{"kind": "signed-jwt", "claims": claims, "exchange": exchange, **changes})

    @property
    def logins(self) -> list[Told]:
        return self.authority.told


@pytest.fixture
def place() -> Iterator[Place]:
    with RestApi() as api, Authority(api=api) as authority:
        yield Place(api, authority)


def listed(api: HttpApi) -> int:
    return len(api.listed(LIST, SecretFields({}), "list the keys at"))


def form(told: Told) -> dict[str, str]:
    return dict(parse_qsl(told.body.decode()))


def no_value_in(error: KeyturnError, place: Place) -> bool:
    shown = "".join(traceback.format_exception(error)) + repr(error.args)
    return bool(error.hint) and not [value for value in (*ADMIN.values(), place.api.admin_token) if value in shown]


# --- client credentials ------------------------------------------------------------------------------------


def test_a_token_is_got_once_and_sent_in_the_targets_headers(place: Place) -> None:
    api = place.by_secret()
    assert [listed(api), listed(api)] == [0, 0]
    (login,) = place.logins
    assert (login.method, login.path) == ("POST", "/oauth/token")
    assert form(login) == {"grant_type": "client_credentials", "scope": "keys"}
    assert login.headers["authorization"].startswith("Basic ")
    assert {told.headers["authorization"] for told in place.api.told} == {f"Bearer {place.api.admin_token}"}


def test_the_secret_may_be_in_the_form_or_in_a_json_body(place: Place) -> None:
    fields = {"client_id": "{{admin.id}}", "client_secret": "{{admin.secret}}", "audience": "https://api/"}
    sent = {"grant_type": "client_credentials", "client_id": "the-client", "client_secret": ADMIN["secret"]}
    listed(place.by_secret(basic=None, form=fields))
    listed(place.by_secret(basic=None, form=None, body=fields))
    assert form(place.logins[0]) == {**sent, "audience": "https://api/"} == place.logins[1].json
    assert not any("authorization" in login.headers for login in place.logins)


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ({"expires_in": 3600}, timedelta(minutes=59)),
        ({"expires_in": "600"}, timedelta(minutes=9)),
        ({"expires_in": "2026-12-03T13:00:00Z"}, timedelta(minutes=59)),
        ({"expires_in": 1796306400}, timedelta(minutes=119)),
        ({}, timedelta(minutes=4, seconds=30)),
        ({"expires_in": "never"}, timedelta(minutes=4, seconds=30)),
    ],
)
def test_a_token_is_replaced_shortly_before_its_end(place: Place, said: dict[str, Any], kept: timedelta) -> None:
    place.authority.said = said
    api = place.by_secret()
    listed(api)
    place.now = NOW + kept - timedelta(seconds=1)
    listed(api)
    assert len(place.logins) == 1
    place.now = NOW + kept
    listed(api)
    assert len(place.logins) == 2


def test_a_token_that_ends_at_once_is_got_for_each_request(place: Place) -> None:
    place.authority.said = {"expires_in": 0}
    api = place.by_secret()
    listed(api)
    listed(api)
    assert len(place.logins) == 2


def test_a_kept_token_that_is_refused_is_replaced_once(place: Place) -> None:
    api = place.by_secret()
    listed(api)
    place.api.admin_token = "revoked meanwhile"
    assert listed(api) == 0
    assert len(place.logins) == 2
    place.api.instead["GET"] = [Said(401), Said(401), Said(200, {"data": []})]
    with pytest.raises(Denied, match="answered 401"):
        listed(api)
    assert len(place.logins) == 3


def test_what_must_hold_before_a_request_is_checked_before_each_try_of_it(place: Place) -> None:
    api = place.by_secret()
    listed(api)
    place.api.admin_token = "revoked meanwhile"
    counts: list[int] = []
    request = Request("GET", "/accounts/a/keys")
    api.call(request, SecretFields({}), "read", before_sending=lambda: counts.append(len(place.api.told)))
    assert counts == [1, 2]
    place.api.admin_token = "revoked again"

    def late() -> None:
        if len(place.api.told) > 3:
            raise Unavailable("read", "api", "too late", "run it again")

    with pytest.raises(Unavailable, match="too late"):
        api.call(request, SecretFields({}), "read", before_sending=late)
    assert len(place.api.told) == 4


def test_a_new_token_that_is_refused_is_not_tried_again(place: Place) -> None:
    place.api.instead["GET"] = [Said(401)]
    with pytest.raises(Denied, match="answered 401"):
        listed(place.by_secret())
    assert (len(place.logins), len(place.api.told)) == (1, 1)


def test_a_token_that_ends_between_two_pages_is_replaced(place: Place) -> None:
    for number in range(3):
        place.api._new_key("a", f"key {number}")
    api = place.by_secret()

    def end(said: Said) -> Said:
        place.api.admin_token = "ended"
        return said

    place.api.after["GET"] = end
    listed_ids = [entry.text("/id") for entry in api.listed(LIST, SecretFields({}), "list the keys at")]
    assert len(listed_ids) == 3
    assert [told.path for told in place.api.told] == ["/accounts/a/keys", *["/accounts/a/keys?page=2"] * 2]


@pytest.mark.parametrize(
    ("said", "error", "match"),
    [
        (Said(400, {"error": "invalid_client", "hint": ADMIN["secret"]}), Denied, "answered with 400.*`admin` path"),
        (Said(401, {"error": ADMIN["secret"]}), Denied, "answered with 401"),
        (Said(403), Denied, "answered with 403"),
        (Said(200, {"access_token": ""}), Invalid, "holds no token.*`token` of the login"),
        (Said(200, b"<html>"), Invalid, "web page"),
        (Said(200, {"error": "x"}), Invalid, "reports an error at /error"),
        (Said(302, None, {"location": "https://evil.example.com"}), Invalid, "redirect"),
        (Said(429), Throttled, "429"),
        (Said(500), Unavailable, "500"),
        (Said(lost=True), Unavailable, "sign in to"),
    ],
)
def test_a_login_that_fails_is_an_error_of_its_kind_without_a_value(
    place: Place, said: Said, error: type[KeyturnError], match: str
) -> None:
    place.authority.instead["POST"] = [said]
    with pytest.raises(error, match=match) as caught:
        listed(place.by_secret())
    assert type(caught.value) is error
    assert caught.value.doing == "sign in to"
    assert no_value_in(caught.value, place)
    assert place.api.told == []


def test_a_missing_field_of_the_admin_is_named(place: Place) -> None:
    del place.admin["secret"]
    with pytest.raises(Invalid, match=r"\{\{admin\.secret\}\}.*Write the field secret at the admin path"):
        listed(place.by_secret())
    assert place.logins == []


def test_the_token_is_sent_with_no_request_that_is_not_the_admins(place: Place) -> None:
    api = place.by_secret()
    request = Request("GET", "/whoami", {"x-api-key": "k"}, expect=frozenset({401}))
    api.call(request, SecretFields({}), "try the key at", as_admin=False)
    assert place.logins == []
    assert "authorization" not in place.api.told[0].headers
    stolen = Request("GET", "/whoami", {"x-api-key": "{{login.token}}"})
    with pytest.raises(Invalid, match=r"\{\{login\.token\}\}, which is not there"):
        api.call(stolen, SecretFields({}), "try the key at", as_admin=False)


# --- signed JWTs -------------------------------------------------------------------------------------------


def checked(token: str, key: str = KEYS.public_key(RSA), algorithm: str = "RS256") -> dict[str, Any]:
    options: Any = {"verify_exp": False, "verify_iat": False, "verify_aud": False}
    claims: dict[str, Any] = jwt.decode(token, key, algorithms=[algorithm], options=options)
    return claims


def test_a_signed_jwt_is_exchanged_for_a_token(place: Place) -> None:
    listed(place.by_jwt(header={"kid": "{{admin.app}}"}, lifetime="10m"))
    (login,) = place.logins
    assertion = form(login)["assertion"]
    assert jwt.get_unverified_header(assertion) == {"typ": "JWT", "alg": "RS256", "kid": "4711"}
    claims = checked(assertion)
    assert len(claims.pop("jti")) == 12
    issued = int(NOW.timestamp()) - 30
    assert claims == {"iss": "4711", "aud": "https://api.example.com/token", "iat": issued, "exp": issued + 600}


def test_a_jwt_may_be_exchanged_by_a_header_for_a_token_with_a_time(place: Place) -> None:
    place.authority.said = {"expires_at": "2026-12-03T13:00:00Z"}
    exchange = {
        "url": f"{place.authority.url}/app/installations/1/access_tokens",
        "headers": {"authorization": "Bearer {{jwt}}"},
        "expires": "/expires_at",
    }
    api = place.by_jwt(exchange=exchange)
    listed(api)
    assert checked(place.logins[0].headers["authorization"].removeprefix("Bearer "))["iss"] == "4711"
    place.now = NOW + timedelta(minutes=58)
    listed(api)
    assert len(place.logins) == 1


@pytest.mark.parametrize(
    ("kind", "algorithm"), [(KeyKind.P_256, "ES256"), (KeyKind.ED25519, "EdDSA"), (KeyKind.RSA_2048, "PS256")]
)
def test_a_jwt_may_be_the_token_itself(place: Place, kind: KeyKind, algorithm: str) -> None:
    key = KEYS.private_key(kind)
    place.admin["private_key"] = key.reveal()
    place.api.instead["GET"] = [Said(200, {"data": []})] * 3
    api = place.by_jwt(exchange=None, algorithm=algorithm)
    for minutes in (0, 4, 5):
        place.now = NOW + timedelta(minutes=minutes)
        listed(api)
    tokens = [told.headers["authorization"].removeprefix("Bearer ") for told in place.api.told]
    assert (tokens[0] == tokens[1], tokens[1] == tokens[2]) == (True, False)
    assert checked(tokens[0], KEYS.public_key(key), algorithm)["iss"] == "4711"
    assert place.logins == []


@pytest.mark.parametrize(
    ("key", "algorithm", "match"),
    [
        ("no key at all", "RS256", "is not PEM without a passphrase"),
        (KEYS.private_key(KeyKind.P_256).reveal(), "RS256", "a key of the kind p-256 can't sign with RS256"),
        (RSA.reveal(), "ES256", "a key of the kind rsa-2048 can't sign with ES256"),
    ],
)
def test_a_key_that_can_not_sign_is_an_error_without_a_word_of_it(
    place: Place, key: str, algorithm: str, match: str
) -> None:
    place.admin["private_key"] = key
    with pytest.raises(Invalid, match=match) as caught:
        listed(place.by_jwt(algorithm=algorithm))
    assert no_value_in(caught.value, place)
    assert key not in "".join(traceback.format_exception(caught.value))
    assert place.logins == []


# --- hosts -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["login", "test_url"])
def test_no_credential_goes_in_clear_to_another_machine(place: Place, key: str) -> None:
    elsewhere = "http://login.example.com/token"
    login = SETTINGS.validate_python({"kind": "client-credentials", "url": elsewhere})
    more: dict[str, Any] = {"login": login} if key == "login" else {"test_url": elsewhere}
    with pytest.raises(Invalid, match="plain http to another machine"):
        HttpApi("api", url=place.api.url, admin=lambda: SecretFields({}), insecure_http=True, **more)


def test_keys_are_tried_at_the_address_for_that_and_the_admin_is_not(place: Place) -> None:
    with RestApi() as other:
        made = other._new_key("a", "key").body["data"]["value"]
        headers = {"authorization": "Bearer {{admin.token}}"}
        admin = lambda: SecretFields({"token": place.api.admin_token})  # noqa: E731
        api = HttpApi("api", url=place.api.url, admin=admin, headers=headers, test_url=f"{other.url}/")
        listed(api)
        request = Request("GET", "/whoami", {"x-api-key": "{{key}}"})
        api.call(request, SecretFields({"key": made}), "try the key at", as_admin=False, at_test_url=True)
        exchange = Request("GET", "/whoami", {"x-api-key": "{{key}}"}, expect=frozenset({401}))
        api.call(exchange, SecretFields({"key": made}), "exchange", as_admin=False)
        api.close()
    assert [told.path for told in place.api.told] == ["/accounts/a/keys", "/whoami"]
    assert "authorization" not in place.api.told[1].headers
    (tried,) = other.told
    assert (tried.path, tried.headers["x-api-key"], "authorization" in tried.headers) == ("/whoami", made, False)


def test_nothing_of_a_login_shows_its_token(place: Place) -> None:
    api = place.by_secret()
    listed(api)
    assert api._login is not None
    shown = repr(api._login.kept) + json.dumps(repr(vars(api._login)))
    assert place.api.admin_token not in shown
