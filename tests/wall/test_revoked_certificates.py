"""A revoked certificate reaches no store; only its issuer's answer counts as proof."""

import dataclasses
import secrets
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from keyturn.catalogue import Catalogue
from keyturn.catalogue.destinations import Destination
from keyturn.core.errors import Invalid, Unavailable, Unproven
from keyturn.core.ports.engines import OCSP, REVOCATION_LIST, Certificate, Publication, SubjectNames
from keyturn.core.ports.keys import CertificateKey
from keyturn.core.sensitive import SecretFields
from keyturn.providers.keys.key_maker import CryptographyKeys
from keyturn.providers.keys.revocation_status import list_says_revoked, ocsp_question, ocsp_says_revoked
from keyturn.providers.vault.hub import VaultHub
from keyturn.rotation.copies.push import converge
from keyturn.rotation.run import rotate
from keyturn.rotation.state.context import Workspace
from keyturn.settings.hub import HubSettings
from keyturn.settings.hub_login import TokenLogin
from keyturn.strategies.certificate import CertificateStrategy
from keyturn.wiring.registry import open_workspace
from local.prepare import POLICIES
from tests.support.lab import Declared, Lab, catalogue_data, fresh
from tests.support.memory_store import MemoryStore
from tests.support.pki import Pki
from tests.support.sender import RecordingSender
from tests.support.world import REGION

Opening = Callable[[str], Workspace]


@pytest.fixture
def declared(lab: Lab, tmp_path: Path) -> Declared:
    rotation = {"strategy": "certificate", "role": Pki(lab, tmp_path).role(), "common_name": "www.internal"}
    data = {
        "owner": "tests@example.com",
        "classification": "internal",
        "destinations": [{"store": "memory", "name": "tls"}],
    }
    return Declared(f"tests/{fresh()}", {**data, "rotation": {**rotation, "ttl": "15d", "grace": "1h"}}, {})


@pytest.fixture
def opening(lab: Lab, declared: Declared, tmp_path: Path) -> Iterator[Opening]:
    """A worker's Keyturn, with the rights of this policy."""
    hubs = list[VaultHub]()

    def opened(policy: str) -> Workspace:
        name = f"worker-{secrets.token_hex(4)}"
        lab.root.sys.create_or_update_policy(name, policy)
        file = tmp_path / name
        file.write_text(lab.root.auth.token.create(policies=[name])["auth"]["client_token"])
        hubs.append(VaultHub(HubSettings(lab.world.hub_address, login=TokenLogin(file=str(file)))))
        store = {"kind": "aws-secrets-manager", "region": REGION}
        catalogue = Catalogue.model_validate(catalogue_data(lab.world, (declared,), store, {}))
        workspace = open_workspace(catalogue, hubs[-1])
        memory = MemoryStore("memory")
        return dataclasses.replace(workspace, sender=RecordingSender(), open_store=lambda name: memory)

    yield opened
    for hub in hubs:
        hub.close()


def push(workspace: Workspace, declared: Declared) -> None:
    (destination,) = workspace.catalogue.secrets[declared.path].pushed_to
    assert isinstance(destination, Destination)
    converge(workspace, declared.path, destination)


def test_a_revoked_certificate_is_not_pushed_and_the_remedy_is_shown(
    lab: Lab, declared: Declared, opening: Opening
) -> None:
    policy = (POLICIES / "keyturn-worker.hcl").read_text()
    first = opening(policy)
    rotate(first, declared.path)
    push(opening(policy), declared)
    serial = lab.current(declared)["serial"]
    lab.root.write_data("pki/revoke", data={"serial_number": serial})
    with pytest.raises(Invalid, match=f"the certificate {serial} of CURRENT was revoked.*--compromised"):
        push(opening(policy), declared)


# --- who is believed ---------------------------------------------------------------------------------------

NOW = datetime(2030, 6, 1, tzinfo=UTC)
DAY = timedelta(days=1)
NAMES = SubjectNames("www.internal", frozenset({"www.internal"}), frozenset())


class Issuer:
    """An authority of our own, which signs whatever it is asked to."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Authority")])
        self.certificate = self.sign(self.key.public_key(), 1)

    def sign(self, key: ec.EllipticCurvePublicKey, serial: int) -> x509.Certificate:
        builder = x509.CertificateBuilder(self.name, self.name, key, serial, NOW - DAY, NOW + 90 * DAY)
        return builder.sign(self.key, SHA256())

    def leaf(self, serial: int) -> x509.Certificate:
        return self.sign(ec.generate_private_key(ec.SECP256R1()).public_key(), serial)

    def answer(self, leaf: x509.Certificate, issuer: x509.Certificate, *, since: timedelta = -DAY) -> bytes:
        """That it is good, for a day and a half from ``since`` on."""
        begins = NOW + since
        builder = ocsp.OCSPResponseBuilder().add_response(
            leaf, issuer, SHA256(), ocsp.OCSPCertStatus.GOOD, begins, begins + 1.5 * DAY, None, None
        )
        made = builder.responder_id(ocsp.OCSPResponderEncoding.NAME, self.certificate)
        return made.sign(self.key, SHA256()).public_bytes(Encoding.DER)

    def revocations(self, *serials: int, since: timedelta = -DAY) -> bytes:
        builder = x509.CertificateRevocationListBuilder(self.name, NOW + since, NOW + since + 1.5 * DAY)
        for serial in serials:
            builder = builder.add_revoked_certificate(x509.RevokedCertificateBuilder(serial, NOW - DAY).build())
        return builder.sign(self.key, SHA256()).public_bytes(Encoding.DER)


def pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode()


def test_only_the_issuers_current_answer_about_this_certificate_is_trusted() -> None:
    issuer, thief = Issuer(), Issuer()
    leaf, other = issuer.leaf(7), issuer.leaf(8)
    asked = pem(leaf), pem(issuer.certificate), NOW, "pki"
    assert ocsp.load_der_ocsp_request(ocsp_question(*asked[:2])).serial_number == 7
    assert ocsp_says_revoked(issuer.answer(leaf, issuer.certificate), *asked) is False
    for forged, flaw in (
        (thief.answer(leaf, issuer.certificate), "its issuer has not signed it"),
        (issuer.answer(other, issuer.certificate), "about another certificate"),
        (issuer.answer(leaf, issuer.certificate, since=-2 * DAY), "out of date"),
        (issuer.answer(leaf, issuer.certificate, since=DAY), "out of date"),
        (b"<html>", "its OCSP answer is none"),
    ):
        with pytest.raises(Unproven, match=flaw):
            ocsp_says_revoked(forged, *asked)
    refused = ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.UNAUTHORIZED)
    assert ocsp_says_revoked(refused.public_bytes(Encoding.DER), *asked) is None


def test_only_the_issuers_current_revocation_list_is_trusted() -> None:
    issuer, thief = Issuer(), Issuer()
    asked = pem(issuer.leaf(7)), pem(issuer.certificate), NOW, "pki"
    assert list_says_revoked(issuer.revocations(7, 9), *asked)
    assert not list_says_revoked(issuer.revocations(9), *asked)
    for forged, flaw in (
        (thief.revocations(9), "its issuer has not signed it"),
        (issuer.revocations(9, since=-2 * DAY), "out of date"),
        (issuer.revocations(9, since=DAY), "out of date"),
        (b"<html>", "its revocation list is none"),
    ):
        with pytest.raises(Unproven, match=flaw):
            list_says_revoked(forged, *asked)


class TwoFaced:
    """An authority that keeps one thing of its only certificate, and tells clients another."""

    name = mount = "pki"

    def __init__(self, *, revoked: bool, published: Publication) -> None:
        self.certificate = Certificate("0a:0b", NAMES, NOW - DAY, NOW + DAY, revoked)
        self.publication = published

    def find(self, serial: str) -> Certificate:
        return self.certificate

    def published(self, serial: str) -> Publication:
        return self.publication

    def revoke(self, serial: str) -> None:
        """As if it had."""


def strategy_of(authority: TwoFaced) -> CertificateStrategy:
    made: Any = CertificateStrategy
    kind, month, keys = CertificateKey.P_256, 30 * DAY, CryptographyKeys()
    strategy: CertificateStrategy = made(
        "tls", authority, keys, lambda: NOW, names=NAMES, kind=kind, ttl=month, life=month
    )
    return strategy


def test_ocsp_and_crl_answers_count_at_a_push_and_after_a_revocation() -> None:
    fields, retired = SecretFields({"serial": "0a:0b"}), {"mount": "pki", "serial": "0a:0b"}
    ended = strategy_of(TwoFaced(revoked=False, published=Publication(revoked=True, by=OCSP)))
    assert ended.revocation(fields) == "the certificate 0a:0b, by OCSP,"
    still_good = strategy_of(TwoFaced(revoked=True, published=Publication(revoked=False, by=OCSP)))
    with pytest.raises(Unavailable, match="still reports to clients by OCSP that it is good"):
        still_good.retire(retired, 5)
    assert still_good.accepts(fields)
    listed = strategy_of(TwoFaced(revoked=True, published=Publication(revoked=False, by=REVOCATION_LIST)))
    listed.retire(retired, 5)
    assert not listed.accepts(fields)
