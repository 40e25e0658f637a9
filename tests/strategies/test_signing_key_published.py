"""Signing keys in the catalogue, in the hub and its copies, and served by an application to its verifiers."""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import jwt
import pytest
import yaml
from pydantic import ValidationError

from keyturn.core.overrides import Waive
from keyturn.core.ports.keys import ALGORITHMS, KeyKind
from keyturn.core.schedule.due import Trigger
from keyturn.core.sensitive import SecretFields
from keyturn.rotation.retire import retire
from keyturn.rotation.run import rotate
from keyturn.strategies.signing_key import SigningKeySettings
from tests.rotation.helpers import remote, with_copy
from tests.strategies.jwts import KEYS, passes, published, rotated, signed, strategy
from tests.support.lab import Lab

PAGE = Path(__file__).parents[2] / "docs" / "strategies" / "signing-key.md"
TIMES = {"strategy": "signing-key", "interval": "30d", "grace": "1d"}


class Kit:
    """What the strategy is opened with."""

    keys = KEYS


@pytest.mark.parametrize("kind", KeyKind)
def test_the_catalogue_says_what_the_key_is_made_of(kind: KeyKind) -> None:
    opened = SigningKeySettings.model_validate({**TIMES, "key": kind.value}).open("apps/key", Kit())  # type: ignore[arg-type]
    assert (opened.kind, opened.algorithm) == (kind, ALGORITHMS[kind][0])


def test_a_key_is_of_p_256_unless_something_else_is_asked_for() -> None:
    opened = SigningKeySettings.model_validate(TIMES).open("apps/key", Kit())  # type: ignore[arg-type]
    assert (opened.name, opened.kind, opened.algorithm) == ("apps/key", KeyKind.P_256, "ES256")


def test_an_algorithm_that_does_not_fit_the_key_is_refused() -> None:
    with pytest.raises(ValidationError, match="a key of the kind p-256 can't sign with RS256"):
        SigningKeySettings.model_validate({**TIMES, "algorithm": "RS256"})


def blocks(language: str) -> list[str]:
    """The examples of the strategy's page."""
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(), flags=re.M | re.S)


def test_the_examples_of_the_page_are_sound_settings() -> None:
    found = [secret for block in blocks("yaml") for secret in yaml.safe_load(block)["secrets"].values()]
    assert found
    for secret in found:
        SigningKeySettings.model_validate(secret["rotation"])


class Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the test asks the answers."""


@contextmanager
def serving(application: Any) -> Iterator[str]:
    with make_server("127.0.0.1", 0, application, handler_class=Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/.well-known/jwks.json"
        finally:
            server.shutdown()
            thread.join()


def test_a_verifier_that_cached_the_set_of_the_pages_application_finds_the_new_key() -> None:
    names: dict[str, Any] = {}
    exec(blocks("python")[0], names)  # noqa: S102
    made = strategy()
    versions = [made.mint(None)]
    with serving(names["jwks_application"](lambda: versions[-1].reveal())) as url:
        client = jwt.PyJWKClient(url)
        client.cooldown_duration = 0  # it would not fetch again within 30 s of the last time

        def verified(token: str) -> Any:
            return jwt.decode(token, client.get_signing_key_from_jwt(token))

        before = signed(versions[-1])
        assert verified(before) == {"sub": "x"}
        versions.append(rotated(made, versions[-1]))
        assert verified(signed(versions[-1])) == verified(before) == {"sub": "x"}
        versions.append(versions[-1].merged(made.cleanup_fields(versions[-1]) or {}))
        client.fetch_data()
        assert verified(signed(versions[-1])) == {"sub": "x"}
        with pytest.raises(jwt.PyJWKClientError, match="Unable to find a signing key"):
            verified(before)


def test_who_publishes_first_and_signs_later_is_never_refused() -> None:
    names: dict[str, Any] = {}
    exec(blocks("python")[0], names)  # noqa: S102
    made = strategy()
    old = made.mint(None)
    new = rotated(made, old)
    with serving(names["jwks_application"](new.reveal)) as url:
        client = jwt.PyJWKClient(url)
        for token in (signed(old), signed(new), signed(old)):
            assert jwt.decode(token, client.get_signing_key_from_jwt(token)) == {"sub": "x"}


# --- a whole life ------------------------------------------------------------------------------------------


def test_a_rotation_publishes_both_keys_everywhere_and_its_retirement_takes_the_old_one_out(lab: Lab) -> None:
    plain = with_copy(lab.generated())
    rotation = {"strategy": "signing-key", "key": "ed25519", "interval": "30d", "grace": "1h"}
    secret = replace(plain, data={**plain.data, "rotation": rotation})
    opened = lab.open(secret)

    def copy() -> SecretFields:
        return SecretFields(json.loads(opened.store.read(remote(secret)).reveal()))

    rotate(opened.workspace, secret.path, Trigger.FORCE)
    first = copy()
    assert len(published(first)) == 1
    retire(opened.workspace, secret.path, Waive.GRACE)
    rotate(opened.workspace, secret.path, Trigger.FORCE)
    second = copy()
    assert second == SecretFields(lab.current(secret))
    assert passes(signed(first), second)
    assert passes(signed(second), second)
    assert retire(opened.workspace, secret.path, Waive.GRACE).retired
    last = copy()
    assert last == SecretFields(lab.current(secret))
    assert passes(signed(second), last)
    assert not passes(signed(first), last)
    assert last["endpoint"] == first["endpoint"]
