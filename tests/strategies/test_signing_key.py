"""Keys that sign JWTs: what was signed before a rotation, and after it, passes by the JWK Set."""

import json
from collections.abc import Callable
from typing import Any

import jwt
import pytest

from keyturn.core.errors import CandidateRejected, Invalid
from keyturn.core.ports.keys import ALGORITHMS, KeyKind
from keyturn.core.ports.strategies import Change
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.providers.keys.key_maker import CryptographyKeys
from keyturn.strategies.signing_key import SigningKey
from tests.contracts.strategy import Case, StrategyContract
from tests.strategies.jwts import KEYS, LONG, passes, published, rotated, signed, strategy

pytestmark = pytest.mark.sampled(9, of="file")

PRIVATE = {"d", "p", "q", "dp", "dq", "qi", "oth", "k"}
"""The members of a JWK that nobody but the signer may know (RFC 7518 part 6)."""


class TestSigningKey(StrategyContract):
    changes = frozenset({"private_key", "kid", "algorithm", "jwks"})
    steady = frozenset({"algorithm"})
    has_target = False
    has_place = False

    @pytest.fixture
    def case(self) -> Case:
        made = strategy()
        current = SecretFields({**made.mint(None), "issuer": "https://id.example.com"})
        another = KEYS.private_key(KeyKind.P_256)
        return Case(
            made,
            current,
            lambda fields: passes(signed(fields), fields),
            lambda candidate: candidate.merged({"private_key": another}),
        )

    def test_what_the_old_key_signed_passes_until_it_is_retired(self, case: Case) -> None:
        assert isinstance(case.strategy, SigningKey)
        before = signed(case.current)
        after = case.current.merged(case.installed().candidate)
        assert passes(before, after)
        left = case.strategy.cleanup_fields(after)
        assert left is not None
        assert set(left) == {"jwks"}
        retired = after.merged(left)
        assert not passes(before, retired)
        assert passes(signed(retired), retired)
        assert case.strategy.cleanup_fields(retired) is None

    def test_a_cut_can_end_nothing_and_says_so_and_the_replacements_set_is_without_the_key(self, case: Case) -> None:
        (said,) = case.strategy.revoke(case.current, 6).outlives
        assert case.current["kid"].reveal() in said
        assert "until those who verify read a JWK Set without it" in said
        after = case.current.merged(case.replacement().candidate)
        assert not passes(signed(case.current), after)

    def test_the_set_never_holds_a_third_key(self, case: Case) -> None:
        second = case.current.merged(case.strategy.mint(case.current))
        third = second.merged(case.strategy.mint(second))
        assert [key["kid"] for key in published(third)] == [third["kid"].reveal(), second["kid"].reveal()]
        assert not passes(signed(case.current), third)

    def test_a_key_that_is_put_back_is_published_beside_the_one_that_is_taken_back(self, case: Case) -> None:
        assert isinstance(case.strategy, SigningKey)
        promoted = case.current.merged(case.strategy.mint(case.current))
        put_back = case.current.merged(case.strategy.rollback_fields(case.current, promoted))
        assert {key["kid"] for key in published(put_back)} == {case.current["kid"].reveal(), promoted["kid"].reveal()}
        settled = case.strategy.cleanup_fields(put_back)
        assert settled is not None
        assert [key["kid"] for key in published(put_back.merged(settled))] == [case.current["kid"].reveal()]

    def test_the_old_key_is_named_by_its_kid(self, case: Case) -> None:
        assert case.strategy.credential_id(case.current) == {"kid": case.current["kid"].reveal()}
        assert case.strategy.credential_id(SecretFields({"issuer": "x"})) == {}


@pytest.mark.parametrize("kind", KeyKind)
def test_no_private_part_is_ever_published(kind: KeyKind) -> None:
    made = strategy(kind)
    fields = rotated(made, made.mint(None))
    secret: Any = jwt.get_algorithm_by_name(made.algorithm).prepare_key(fields["private_key"].reveal())
    parts = json.loads(jwt.get_algorithm_by_name(made.algorithm).to_jwk(secret))
    assert PRIVATE & set(parts), "the test knows what would be private"
    for key in published(fields):
        assert not PRIVATE & set(key)
        assert set(key) <= {"kty", "n", "e", "crv", "x", "y", "use", "alg", "kid"}
    assert not [name for name in PRIVATE & set(parts) if parts[name] in fields["jwks"].reveal()]


@pytest.mark.parametrize(("kind", "algorithm"), [(k, a) for k in KeyKind if k not in LONG for a in ALGORITHMS[k]])
def test_every_kind_signs_what_a_verifier_accepts(kind: KeyKind, algorithm: str) -> None:
    fields = rotated(strategy(kind, algorithm), None)
    assert passes(signed(fields), fields)
    assert {(key["use"], key["alg"]) for key in published(fields)} == {("sig", algorithm)}


def test_another_kind_of_key_may_follow() -> None:
    old = strategy(KeyKind.RSA_2048, "PS256").mint(None)
    new = rotated(strategy(KeyKind.ED25519), old)
    assert [key["alg"] for key in published(new)] == ["EdDSA", "PS256"]
    assert passes(signed(old), new)
    assert passes(signed(new), new)


def test_a_key_that_came_from_elsewhere_keeps_the_name_that_its_tokens_carry() -> None:
    old = SecretFields({"private_key": KEYS.private_key(KeyKind.P_256), "kid": "2024-05", "algorithm": "ES256"})
    new = rotated(strategy(), old)
    assert published(new)[1]["kid"] == "2024-05"
    assert passes(signed(old), new)
    assert strategy().credential_id(old) == {"kid": "2024-05"}


def test_a_key_without_a_name_is_known_by_its_thumbprint() -> None:
    old = SecretFields({"private_key": KEYS.private_key(KeyKind.P_256)})
    new = rotated(strategy(), old)
    assert strategy().credential_id(old) == {"kid": published(new)[1]["kid"]}
    assert strategy().cleanup_fields(old) is None, "there is no set to take a key out of"


def test_a_secret_without_a_key_begins_with_one() -> None:
    new = rotated(strategy(), SecretFields({"issuer": "https://id.example.com"}))
    assert len(published(new)) == 1
    assert strategy().cleanup_fields(new) is None


@pytest.mark.parametrize("text", ["", "hunter2", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_a_serving_key_that_can_not_be_read_is_refused_before_anything_changes(text: str) -> None:
    with pytest.raises(Invalid) as caught:
        strategy().preflight(SecretFields({"private_key": text, "kid": "a"}), None)
    assert "apps/contract:private_key" in str(caught.value)
    assert "begin with a new one" in caught.value.hint
    assert "hunter2" not in str(caught.value)


def with_keys(fields: SecretFields, change: Callable[[list[Any]], Any]) -> SecretFields:
    keys = published(fields)
    return fields.merged({"jwks": json.dumps({"keys": change(keys) or keys})})


WRONG: dict[str, tuple[Callable[[SecretFields, SecretFields], SecretFields], str]] = {
    "it lacks a field": (lambda c, _: SecretFields({k: v for k, v in c.items() if k != "kid"}), "kid: .* lacks"),
    "no key": (lambda c, _: c.merged({"private_key": "hunter2"}), "private_key: it is not PEM"),
    "the old key": (lambda c, old: c.merged({"private_key": old["private_key"]}), "private_key: .* serves already"),
    "another kind": (
        lambda c, old: c.merged(strategy(KeyKind.ED25519).mint(old)).merged({"algorithm": "ES256"}),
        "algorithm: .* another kind",
    ),
    "another algorithm": (lambda c, _: c.merged({"algorithm": "ES384"}), "algorithm: .* another kind"),
    "another name": (lambda c, _: c.merged({"kid": "mine"}), "kid: it is not the thumbprint"),
    "the set of another key": (lambda c, _: c.merged({"jwks": strategy().mint(None)["jwks"]}), "jwks: it has to hold"),
    "no JSON": (lambda c, _: c.merged({"jwks": "{"}), "jwks: it has to hold"),
    "the old key is missing": (lambda c, _: with_keys(c, lambda keys: keys[:1]), "jwks: it has to hold"),
    "a third key": (lambda c, _: with_keys(c, lambda keys: [*keys, keys[0]]), "jwks: it has to hold"),
    "a private part": (lambda c, _: with_keys(c, lambda keys: keys[0].update(d="AAAA")), "jwks: .* nothing else"),
}


@pytest.mark.parametrize(("spoilt", "said"), WRONG.values(), ids=WRONG)
def test_a_candidate_that_would_not_do_is_rejected_in_words(
    spoilt: Callable[[SecretFields, SecretFields], SecretFields], said: str
) -> None:
    made = strategy()
    current = made.mint(None)
    candidate = spoilt(made.mint(current), current)
    with pytest.raises(CandidateRejected, match=said) as caught:
        made.verify(Change("apps/contract", 1, candidate, current))
    assert "hunter2" not in str(caught.value)


def test_a_candidate_made_before_somebody_wrote_another_key_is_rejected() -> None:
    made = strategy()
    candidate, another = made.mint(made.mint(None)), made.mint(None)
    with pytest.raises(CandidateRejected, match="of the one that serves"):
        made.verify(Change("apps/contract", 1, candidate, another))


class FaultyKeys(CryptographyKeys):
    """A machine that signs wrongly, as one with broken memory does."""

    def sign(self, private_key: Sensitive, algorithm: str, message: bytes) -> bytes:
        signature = super().sign(private_key, algorithm, message)
        return bytes([*signature[:-1], signature[-1] ^ 1])


def test_a_key_whose_signature_does_not_verify_is_rejected() -> None:
    made = SigningKey("apps/contract", FaultyKeys(), KeyKind.P_256, "ES256")
    with pytest.raises(CandidateRejected, match="does not confirm"):
        made.verify(Change("apps/contract", 1, made.mint(None), None))
