"""The adapter of the hub's PKI engine: what it asks for, what it believes, and what becomes of refusals."""

import ipaddress
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509 as lib
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from keyturn.core.errors import Denied, Invalid, KeyturnError, NotFound
from keyturn.core.ports.engines import CertificateRole, SubjectNames
from keyturn.core.ports.keys import KeyKind
from keyturn.core.sensitive import Sensitive
from keyturn.providers.keys import x509
from keyturn.providers.keys.key_maker import CryptographyKeys
from keyturn.providers.vault.hub import VaultHub
from keyturn.settings.hub import HubSettings
from keyturn.settings.hub_login import TokenLogin
from tests.contracts.hub import assert_silent
from tests.support.engines import worker_hub
from tests.support.lab import Lab
from tests.support.pki import Pki

NAMES = SubjectNames("a.internal", frozenset({"a.internal"}), frozenset())
DAY = timedelta(days=1)
NOW = datetime(2030, 6, 1, tzinfo=UTC)


@pytest.fixture
def hub(lab: Lab, tmp_path: Path) -> Iterator[VaultHub]:
    with worker_hub(lab, tmp_path) as opened:
        yield opened


@pytest.fixture
def pki(lab: Lab, tmp_path: Path) -> Pki:
    return Pki(lab, tmp_path)


@pytest.fixture(scope="module")
def key() -> Sensitive:
    return CryptographyKeys().private_key(KeyKind.P_256)


def test_what_was_signed_is_found_by_its_serial_until_it_is_revoked_and_after(
    hub: VaultHub, pki: Pki, key: Sensitive
) -> None:
    authority = hub.authority(pki.mount, pki.role())
    issued = authority.sign(key, NAMES, DAY)
    found = authority.find(issued.certificate.serial)
    assert found == issued.certificate
    assert authority.examine(issued.pem, issued.chain, key, datetime.now(UTC)) == issued.certificate
    authority.revoke(issued.certificate.serial)
    authority.revoke(issued.certificate.serial)
    again = authority.find(issued.certificate.serial)
    assert again is not None
    assert (again.revoked, again.names) == (True, NAMES)


def test_a_role_tells_what_it_allows(hub: VaultHub, pki: Pki) -> None:
    role = pki.role(key_type="rsa", key_bits=3072, max_ttl="48h", no_store=True)
    assert hub.authority(pki.mount, role).allows() == CertificateRole(2 * DAY, "rsa", 3072, stores=False, leases=False)
    leased = CertificateRole(None, "any", 0, stores=True, leases=True)
    assert hub.authority(pki.mount, pki.role(max_ttl="0", generate_lease=True)).allows() == leased


def test_what_is_not_there_is_not_found(hub: VaultHub, lab: Lab, pki: Pki, key: Sensitive) -> None:
    for absent in (
        hub.authority(pki.mount, "absent"),
        lab.hub.authority("no-such-mount", "role"),
        hub.authority(pki.mount, pki.role(), "no-such-issuer"),
    ):
        with pytest.raises(NotFound) as caught:
            absent.sign(key, NAMES, DAY)
        assert_silent(caught.value, key.reveal())
    assert hub.authority(pki.mount, "absent").find("aa:bb:cc") is None
    hub.authority(pki.mount, "absent").revoke("aa:bb:cc")


def test_a_refused_request_says_which_settings_to_look_at_and_nothing_of_the_key(
    hub: VaultHub, pki: Pki, key: Sensitive
) -> None:
    authority = hub.authority(pki.mount, pki.role(key_type="rsa", key_bits=2048))
    with pytest.raises(Invalid, match="key_type") as caught:
        authority.sign(key, NAMES, DAY)
    assert_silent(caught.value, key.reveal())


def test_a_login_without_the_rights_is_denied(lab: Lab, pki: Pki, key: Sensitive, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(lab.root.auth.token.create(policies=["default"])["auth"]["client_token"])
    with closing(VaultHub(HubSettings(lab.world.hub_address, login=TokenLogin(file=str(tmp_path / "token"))))) as hub:
        authority = hub.authority(pki.mount, pki.role())
        for call in (
            authority.allows,
            lambda: authority.sign(key, NAMES, DAY),
            lambda: authority.revoke("aa:bb:cc"),
        ):
            with pytest.raises(Denied, match="keyturn setup hub --apply") as caught:
                call()
            assert_silent(caught.value, key.reveal())


def test_without_the_package_the_extra_is_named() -> None:
    asks = (
        "import sys; sys.modules['cryptography'] = None\n"
        "from keyturn.providers.vault.hub import VaultHub\n"
        "from keyturn.settings.hub import HubSettings\n"
        "VaultHub(HubSettings('http://127.0.0.1:1')).authority('pki', 'role')"
    )
    done = subprocess.run([sys.executable, "-c", asks], capture_output=True, text=True, check=False, timeout=60)
    assert "Invalid: open pki: the package cryptography is missing. Install keyturn[certificates]" in done.stderr


# --- what a certificate says, and whether a chain holds ----------------------------------------------------


class Made:
    """A certificate of our own, and its key."""

    def __init__(
        self,
        name: str,
        issuer: "Made | None" = None,
        *,
        authority: bool = False,
        key: "ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | None" = None,
        days: tuple[int, int] = (-1, 30),
        names: tuple[lib.GeneralName, ...] | None = None,
        serial: int | None = None,
    ) -> None:
        self.key = key or ec.generate_private_key(ec.SECP256R1())
        self.subject = lib.Name([lib.NameAttribute(NameOID.COMMON_NAME, name)] if name else [])
        above = issuer or self
        builder = (
            lib.CertificateBuilder(above.subject, self.subject, self.key.public_key())
            .serial_number(serial or lib.random_serial_number())
            .not_valid_before(NOW + timedelta(days=days[0]))
            .not_valid_after(NOW + timedelta(days=days[1]))
            .add_extension(lib.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(lib.AuthorityKeyIdentifier.from_issuer_public_key(above.key.public_key()), critical=False)
        )
        if authority:
            usage = dict.fromkeys(
                (
                    "digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
                    "key_agreement", "encipher_only", "decipher_only",
                ),
                False,
            )  # fmt: skip
            builder = builder.add_extension(lib.KeyUsage(key_cert_sign=True, crl_sign=True, **usage), critical=True)
            builder = builder.add_extension(lib.SubjectKeyIdentifier.from_public_key(self.key.public_key()), False)
        if names is not None:
            builder = builder.add_extension(lib.SubjectAlternativeName(names), critical=not name)
        digest = None if isinstance(above.key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
        self.pem = builder.sign(above.key, digest).public_bytes(Encoding.PEM).decode()


@pytest.fixture(scope="module")
def root() -> Made:
    return Made("Root", authority=True, days=(-1, 300))


@pytest.fixture(scope="module")
def middle(root: Made) -> Made:
    return Made("Middle", root, authority=True, days=(-1, 100))


@pytest.fixture(scope="module")
def leaf(middle: Made) -> Made:
    return Made("a.internal", middle, names=(lib.DNSName("a.internal"),))


def test_a_chain_holds_up_to_the_topmost_authority_that_is_known(root: Made, middle: Made, leaf: Made) -> None:
    assert not x509.chain_is_broken(leaf.pem, middle.pem + root.pem, root.pem, NOW)
    assert not x509.chain_is_broken(leaf.pem, middle.pem, root.pem, NOW)
    assert not x509.chain_is_broken(leaf.pem, middle.pem, middle.pem, NOW)


def test_a_chain_that_lacks_a_link_or_is_out_of_date_or_another_authoritys_is_broken(
    root: Made, middle: Made, leaf: Made
) -> None:
    same_name = Made("Root", authority=True, days=(-1, 300))
    assert x509.chain_is_broken(leaf.pem, root.pem, root.pem, NOW)
    assert x509.chain_is_broken(leaf.pem, middle.pem, same_name.pem, NOW)
    assert x509.chain_is_broken(leaf.pem, "", root.pem, NOW)
    assert x509.chain_is_broken(leaf.pem, "no certificates", root.pem, NOW)
    for days in (-2, 31, 101):
        assert x509.chain_is_broken(leaf.pem, middle.pem, root.pem, NOW + timedelta(days=days))


def test_who_is_no_authority_can_not_sign(root: Made) -> None:
    impostor = Made("Impostor", root, names=(lib.DNSName("impostor.internal"),))
    forged = Made("a.internal", impostor, names=(lib.DNSName("a.internal"),))
    assert x509.chain_is_broken(forged.pem, impostor.pem, root.pem, NOW)


def test_a_certificate_of_an_authority_on_ed25519_does_not_count_as_proven(root: Made) -> None:
    """The verifier keeps to what public clients accept; the certificate's own key may be of any kind."""
    unusual = Made("Unusual", authority=True, key=ed25519.Ed25519PrivateKey.generate(), days=(-1, 300))
    names = (lib.DNSName("a.internal"),)
    assert x509.chain_is_broken(Made("a.internal", unusual, names=names).pem, unusual.pem, unusual.pem, NOW)
    own = Made("a.internal", root, key=ed25519.Ed25519PrivateKey.generate(), names=names)
    assert not x509.chain_is_broken(own.pem, root.pem, root.pem, NOW)


def test_a_serial_is_spelt_as_the_hub_does(root: Made) -> None:
    for number, spelt in ((1, "01"), (0xAB, "ab"), (0x0102, "01:02"), (0xFF00FF, "ff:00:ff")):
        assert x509.describe_certificate(Made("a.internal", root, serial=number).pem).serial == spelt


def test_names_are_told_in_lower_case_and_addresses_in_their_short_form(root: Made) -> None:
    said = (
        lib.DNSName("B.Internal"), lib.IPAddress(ipaddress.ip_address("2001:db8:0:0::1")),
        lib.RFC822Name("someone@example.com"),
    )  # fmt: skip
    told = x509.describe_certificate(Made("a.internal", root, names=said).pem)
    assert told.names == SubjectNames("a.internal", frozenset({"b.internal"}), frozenset({"2001:db8::1"}))
    assert x509.describe_certificate(Made("a.internal", root).pem).names == SubjectNames(
        "a.internal", frozenset(), frozenset()
    )
    assert x509.describe_certificate(Made("", root, names=(lib.DNSName("b.internal"),)).pem).names.common_name == ""


def test_what_is_no_certificate_is_invalid_without_a_word_of_it() -> None:
    for text in ("", "s3cr3t-value", "-----BEGIN CERTIFICATE-----\ns3cr3t-value\n-----END CERTIFICATE-----"):
        with pytest.raises(Invalid) as caught:
            x509.describe_certificate(text)
        assert_silent(caught.value, "s3cr3t-value")


def test_a_certificate_belongs_to_its_own_key_alone(root: Made, key: Sensitive) -> None:
    request = lib.load_pem_x509_csr(x509.signing_request(key, NAMES).encode())
    assert request.is_signature_valid
    assert "PRIVATE" not in x509.signing_request(key, NAMES)
    assert not x509.belongs_to_key(root.pem, key)
    with pytest.raises(KeyturnError):
        x509.belongs_to_key(root.pem, Sensitive("no key"))
