"""The format of Vault's and OpenBao's tokens, against the real hub of the tests."""

from contextlib import closing

from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.providers.http.api_target import HttpApi
from keyturn.tokens.ending import Killer, LeakedToken, TokenResult
from keyturn.tokens.library import load_formats, recognise
from tests.support.lab import Lab


def test_a_token_of_the_hub_is_recognised_ended_and_proven(lab: Lab) -> None:
    formats = load_formats()
    value = Sensitive(lab.root.auth.token.create(policies=["default"], ttl="5m")["auth"]["client_token"])
    assert recognise(value, formats).name == "vault-token"
    token = LeakedToken(1, value, "vault-token", formats["vault-token"], "the-hub.example.com")
    api = HttpApi(
        "hub", url=f"{lab.world.hub_address}/v1", admin=lambda: SecretFields({}), ca_file=lab.world.hub_ca or None
    )
    with closing(api):
        ((_, outcome),) = Killer(lambda _: api).kill([token])
        assert outcome.result is TokenResult.PROVEN, outcome
        ((_, again),) = Killer(lambda _: api).kill([token])
    assert again.result is TokenResult.FAILED, "an ended token and one of another hub look the same"
