"""Keys of every kind: creation, names, formats, and signatures that PyJWT accepts."""

import base64
import json
import traceback
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from keyturn.core.errors import Invalid
from keyturn.core.ports.keys import ALGORITHMS, PUBLIC_MEMBERS, KeyKind
from keyturn.core.sensitive import Sensitive
from keyturn.providers.keys.key_maker import CryptographyKeys

pytestmark = pytest.mark.sampled(9, of="file")

LONG = (KeyKind.RSA_3072, KeyKind.RSA_4096)
PAIRS = [(kind, algorithm) for kind in KeyKind for algorithm in ALGORITHMS[kind][: 1 if kind in LONG else None]]
"""Every algorithm of every kind; a longer modulus takes longer and goes the same way."""
KEYS = CryptographyKeys()


@pytest.fixture(scope="module")
def made() -> dict[KeyKind, Sensitive]:
    """One key of each kind."""
    return {kind: KEYS.private_key(kind) for kind in KeyKind}


@pytest.mark.parametrize("kind", KeyKind)
def test_a_private_key_is_pkcs8_of_its_kind(kind: KeyKind, made: dict[KeyKind, Sensitive]) -> None:
    assert made[kind].reveal().startswith("-----BEGIN PRIVATE KEY-----\n")
    assert KEYS.kind(made[kind]) is kind


@pytest.mark.parametrize("kind", KeyKind)
def test_the_jwk_is_the_public_key_and_nothing_else(kind: KeyKind, made: dict[KeyKind, Sensitive]) -> None:
    jwk = KEYS.public_jwk(made[kind])
    assert sorted(jwk) == list(PUBLIC_MEMBERS[jwk["kty"]])
    assert not {"d", "p", "q", "dp", "dq", "qi", "oth", "k"} & set(jwk)
    loaded: Any = jwt.PyJWK({**jwk, "alg": ALGORITHMS[kind][0]}).key
    assert loaded == load_pem_public_key(KEYS.public_key(made[kind]).encode())


@pytest.mark.parametrize(("kind", "algorithm"), PAIRS)
def test_what_it_signs_pyjwt_confirms_and_the_other_way_round(
    kind: KeyKind, algorithm: str, made: dict[KeyKind, Sensitive]
) -> None:
    jwk, message = KEYS.public_jwk(made[kind]), b"eyJ.eyJ"
    signature = KEYS.sign(made[kind], algorithm, message)
    tool = jwt.get_algorithm_by_name(algorithm)
    assert tool.verify(message, tool.prepare_key(KEYS.public_key(made[kind])), signature)
    theirs = tool.sign(message, tool.prepare_key(made[kind].reveal()))
    assert KEYS.verifies(jwk, algorithm, message, theirs)


@pytest.mark.parametrize(("kind", "algorithm"), PAIRS)
def test_a_signature_holds_for_its_message_and_key_alone(
    kind: KeyKind, algorithm: str, made: dict[KeyKind, Sensitive]
) -> None:
    jwk, message = KEYS.public_jwk(made[kind]), b"eyJ.eyJ"
    signature = KEYS.sign(made[kind], algorithm, message)
    other = KEYS.public_jwk(KEYS.private_key(KeyKind.RSA_2048 if kind in LONG else kind))
    assert KEYS.verifies(jwk, algorithm, message, signature)
    assert not KEYS.verifies(jwk, algorithm, message + b".", signature)
    assert not KEYS.verifies(jwk, algorithm, message, signature[:-1])
    assert not KEYS.verifies(jwk, algorithm, message, b"")
    assert not KEYS.verifies(other, algorithm, message, signature)


@pytest.mark.parametrize("kind", sorted(set(KeyKind) - set(LONG)))
def test_two_keys_differ(kind: KeyKind, made: dict[KeyKind, Sensitive]) -> None:
    assert KEYS.private_key(kind) != made[kind]


@pytest.mark.parametrize("kind", KeyKind)
def test_the_line_for_ssh_is_the_same_public_key(kind: KeyKind, made: dict[KeyKind, Sensitive]) -> None:
    line = KEYS.public_openssh(made[kind])
    name, _, body = line.partition(" ")
    assert base64.b64decode(body, validate=True)[4:].startswith(name.encode())
    assert name.startswith({"r": "ssh-rsa", "p": "ecdsa-sha2-nistp", "e": "ssh-ed25519"}[kind[0]])


@pytest.mark.parametrize("kind", [KeyKind.RSA_2048, KeyKind.P_256])
def test_the_older_forms_of_pem_are_read_the_same(kind: KeyKind, made: dict[KeyKind, Sensitive]) -> None:
    key: Any = load_pem_private_key(made[kind].reveal().encode(), None)
    older = Sensitive(key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode())
    assert older != made[kind]
    assert KEYS.kind(older) is kind
    assert KEYS.public_key(older) == KEYS.public_key(made[kind])


def pem(key: Any, encryption: Any = None) -> str:
    written: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption())
    return written.decode()


UNREADABLE = {
    "nothing": lambda: "",
    "no PEM": lambda: "hunter2",
    "cut off": lambda: pem(ec.generate_private_key(ec.SECP256R1()))[:-60],
    "a passphrase": lambda: pem(ec.generate_private_key(ec.SECP256R1()), BestAvailableEncryption(b"hunter2")),
    "another curve": lambda: pem(ec.generate_private_key(ec.SECP256K1())),
    "cut off, of OpenSSH": lambda: KEYS.openssh(KEYS.private_key(KeyKind.ED25519)).reveal()[:-60],
    "DSA": lambda: pem(dsa.generate_private_key(2048)),
    "a public key": lambda: KEYS.public_key(KEYS.private_key(KeyKind.ED25519)),
}


@pytest.mark.parametrize("text", UNREADABLE.values(), ids=UNREADABLE)
def test_what_is_no_usable_key_is_refused_without_a_word_of_it(text: Any) -> None:
    value = text()
    for call in (KEYS.kind, KEYS.public_key, KEYS.public_jwk, KEYS.public_openssh):
        with pytest.raises(Invalid) as caught:
            call(Sensitive(value))
        told = "".join(traceback.format_exception(caught.value))
        assert not [line for line in value.splitlines()[1:-1] or [value] if line and line in told]
        assert caught.value.hint


def test_an_unusual_size_has_no_name_but_a_public_half() -> None:
    key = Sensitive(pem(rsa.generate_private_key(65537, 2560)))
    with pytest.raises(Invalid, match="unusual size"):
        KEYS.kind(key)
    assert KEYS.public_jwk(key)["kty"] == "RSA"


@pytest.mark.parametrize(
    "jwk",
    [
        {"kty": "oct", "k": "AAAA"},
        {"kty": "EC", "crv": "P-256", "x": "AAAA", "y": "AAAA"},
        {"kty": "EC", "crv": "secp256k1", "x": "AAAA", "y": "AAAA"},
        {"kty": "OKP", "crv": "X25519", "x": "A" * 43},
        {"kty": "OKP", "crv": "Ed25519", "x": "AAAA"},
        {"kty": "RSA", "n": "AQAB"},
        {"kty": "RSA", "n": "!", "e": "AQAB"},
        {},
    ],
    ids=json.dumps,
)
def test_what_is_no_public_key_is_refused(jwk: dict[str, str]) -> None:
    with pytest.raises(Invalid):
        KEYS.verifies(jwk, "RS256", b"", b"")
