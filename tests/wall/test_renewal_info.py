"""Renewal suggestions of a certificate authority are accepted only within safe bounds."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509 as lib
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from keyturn.core.errors import Invalid, KeyturnError, Unavailable
from keyturn.core.schedule.due import due, outlook
from keyturn.core.schedule.facts import Facts, Schedule
from keyturn.providers.http.renewal_info import AcmeRenewalInfo
from keyturn.providers.keys.x509 import renewal_identifier
from tests.support.renewal_info import AcmeServer, acme_server

NOW = datetime(2030, 6, 1, tzinfo=UTC)
DAY = timedelta(days=1)
LIFE = 47 * DAY
SIGNER = bytes.fromhex("69885b6b87464041e1b37b847ba0ae2cde01c8d4")


@pytest.fixture
def server() -> Iterator[AcmeServer]:
    with acme_server() as made:
        yield made


def certificate(serial: int = 0x87654321, signer: bytes = SIGNER) -> str:
    key, name = ec.generate_private_key(ec.SECP256R1()), lib.Name([])
    builder = lib.CertificateBuilder(name, name, key.public_key(), serial, NOW, NOW + LIFE)
    if signer:
        builder = builder.add_extension(lib.AuthorityKeyIdentifier(signer, None, None), critical=False)
    return builder.sign(key, SHA256()).public_bytes(Encoding.PEM).decode()


def facts(age: timedelta, renew_at: datetime | None) -> Facts:
    return Facts("tls", Schedule(), NOW, NOW - age, expires_at=NOW - age + LIFE, renew_at=renew_at)


def test_a_certificate_is_asked_about_as_the_rfc_has_it() -> None:
    """The example of RFC 9773, 4.1: a number whose first bit is set has an octet of zeros before it."""
    assert renewal_identifier(certificate()) == "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE"
    assert renewal_identifier(certificate(0x7654321)) == "aYhba4dGQEHhs3uEe6CuLN4ByNQ.B2VDIQ"
    with pytest.raises(Invalid, match="no authority key identifier"):
        renewal_identifier(certificate(signer=b""))


def test_a_moment_in_the_window_is_chosen_and_is_the_same_at_every_look(server: AcmeServer) -> None:
    server.suggest(NOW, NOW + DAY)
    adviser = AcmeRenewalInfo(server.directory)
    moments = {adviser.window(certificate(serial)).moment for serial in (5, 5, 6, 7)}
    assert len(moments) == 3
    assert all(NOW <= moment < NOW + DAY for moment in moments)
    assert len(set(server.asked)) == 3


def test_a_suggestion_counts_between_a_days_age_and_the_last_tenth_of_the_life() -> None:
    assert outlook(facts(5 * DAY, None)).at == NOW - 5 * DAY + LIFE * 2 / 3
    assert outlook(facts(5 * DAY, NOW + DAY)).at == NOW + DAY
    assert outlook(facts(5 * DAY, NOW + 36 * DAY)).at == NOW + 36 * DAY
    reason = due(facts(5 * DAY, NOW - DAY))
    assert reason is not None
    assert "as its authority suggests" in reason.message
    assert outlook(facts(5 * DAY, NOW + 41 * DAY)).at == NOW - 5 * DAY + LIFE * 2 / 3
    assert due(facts(DAY / 2, NOW - 30 * DAY)) is None
    assert outlook(facts(DAY / 2, NOW - 30 * DAY)).at == NOW + DAY / 2


def test_a_malformed_answer_is_refused_and_reported(server: AcmeServer) -> None:
    adviser = AcmeRenewalInfo(server.directory)

    def refusal() -> KeyturnError:
        with pytest.raises(KeyturnError) as caught:
            adviser.window(certificate())
        return caught.value

    server.suggest(NOW + DAY, NOW)
    assert "the window that it suggests is none" in str(refusal())
    server.window = {"start": "2030-06-01T00:00:00", "end": "2030-06-02T00:00:00"}
    assert "the window that it suggests is none" in str(refusal())
    server.window = {"start": "soon"}
    assert isinstance(refusal(), Unavailable)
    server.entries = {"renewalInfo": "http://127.0.0.1:1/renewal-info"}
    assert "is at another server" in str(refusal())
    server.entries = {}
    assert "has no renewalInfo" in str(refusal())
    server.status = 302
    assert "answered 302" in str(refusal())
    for address in ("http://acme.example.com/directory", "file:///etc/passwd", "acme"):
        with pytest.raises(Invalid, match="its directory is no https URL"):
            AcmeRenewalInfo(address)
