"""A year of certificates with a clock that jumps: issued, served over TLS, renewed by the schedule's own decisions.

Keys, certificates, revocations and handshakes are real; what is not is the time, and the hub, whose place an authority
in memory takes. It signs by an intermediate that is followed by another as the catalogue's authorities are.
"""

import secrets
import ssl
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from heapq import heappop, heappush
from math import ceil
from pathlib import Path
from typing import Any

from cryptography import x509 as lib
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from keyturn.catalogue.pki import AuthoritySettings, wanted_authorities
from keyturn.core.ports.authorities import Issuer, PublishedIssuers, succeed
from keyturn.core.ports.engines import OCSP, Certificate, CertificateRole, Issued, Publication, SubjectNames
from keyturn.core.ports.keys import CertificateKey
from keyturn.core.ports.strategies import Change
from keyturn.core.schedule.causes import RENEWED_AFTER
from keyturn.core.schedule.due import alarm, due, outlook
from keyturn.core.schedule.facts import Facts, Schedule
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.providers.keys import x509
from keyturn.providers.keys.key_maker import CryptographyKeys
from keyturn.strategies.certificate import CertificateStrategy, expiry
from tests.support.pki import handshake

BEGIN = datetime(2029, 3, 15, tzinfo=UTC)
"""From here on a public certificate may live for 47 days (CA/Browser Forum, ballot SC-081)."""
YEAR = timedelta(days=365)
LOOK = timedelta(minutes=15)
"""How often the schedule looks for what is due."""
GRACE = timedelta(hours=1)
BACKDATED = timedelta(seconds=30)
NO_CHECK_TIME = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME of OpenSSL: the time is the simulation's, so this is looked at apart."""


@dataclass
class CertificateYear:
    """What came of it. ``least_left`` is the least that was left of a certificate's life when it was renewed, as a
    part of that.

    ``early`` are renewals before a look found them due, ``paged`` looks at which one was an alarm; ``failed`` are
    handshakes, of all ``handshakes``, that a client refused. ``intermediates`` have signed, one after the other.
    """

    renewals: int = 0
    least_left: float = 1.0
    early: int = 0
    paged: int = 0
    handshakes: int = 0
    failed: int = 0
    intermediates: int = 1


class SimulatedAuthority:
    """A ``Authority`` in memory: an intermediate below a root, by the simulation's clock."""

    name = mount = "pki"

    def __init__(self, longest: timedelta) -> None:
        self.now = BEGIN
        self.longest = longest
        self.issued, self.revoked = dict[str, lib.Certificate](), set[str]()
        self.root_key = ec.generate_private_key(ec.SECP256R1())
        self.root = self._certify("Root", self.root_key.public_key(), 10 * YEAR)
        self.keys, self.issuers = dict[str, ec.EllipticCurvePrivateKey](), list[Issuer]()
        services: dict[str, Any] = {"mount": "pki", "common_name": "Services", "signed_by": "root", "ttl": "240d"}
        services["roles"] = {"web": {"max_ttl": f"{longest.days}d"}}
        root = {"mount": "root", "common_name": "Root", "ttl": "3650d"}
        declared = {"root": AuthoritySettings(**root), "services": AuthoritySettings(**services)}
        self.wanted = wanted_authorities(declared)[1]
        self.renew()

    def renew(self) -> bool:
        """What a run of ``keyturn pki apply`` does: another intermediate where one is due. Whether it was."""
        state = PublishedIssuers(tuple(self.issuers), self.issuers[-1].id if self.issuers else "")
        if succeed(self.wanted, state, None, self.now) is None:
            return False
        key, name = ec.generate_private_key(ec.SECP256R1()), f"keyturn-{len(self.issuers) + 1}"
        certificate = self._certify(self.wanted.common_name, key.public_key(), self.wanted.ttl)
        described = {**x509.describe_authority(pem_of(certificate)), "key": self.wanted.key}
        self.keys[name] = key
        self.issuers.append(Issuer(name, name, certificate=pem_of(certificate), **described))
        return True

    def _certify(self, name: str, key: ec.EllipticCurvePublicKey, life: timedelta) -> lib.Certificate:
        usage = dict.fromkeys(
            (
                "digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
                "key_agreement", "encipher_only", "decipher_only",
            ),
            False,
        )  # fmt: skip
        builder = (
            self._builder(subject_of("Root"), subject_of(name), key, life)
            .add_extension(lib.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(lib.KeyUsage(key_cert_sign=True, crl_sign=True, **usage), critical=True)
            .add_extension(lib.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(lib.AuthorityKeyIdentifier.from_issuer_public_key(self.root_key.public_key()), False)
        )
        return builder.sign(self.root_key, SHA256())

    def _builder(self, issuer: lib.Name, subject: lib.Name, key: Any, life: timedelta) -> lib.CertificateBuilder:
        begins = self.now - BACKDATED
        return lib.CertificateBuilder(issuer, subject, key, lib.random_serial_number(), begins, begins + life)

    def allows(self) -> CertificateRole:
        """Keys of any kind."""
        return CertificateRole(self.longest, "any", 0, stores=True, leases=False)

    def sign(self, private_key: Sensitive, names: SubjectNames, ttl: timedelta) -> Issued:
        """A certificate by the newest intermediate."""
        request = lib.load_pem_x509_csr(x509.signing_request(private_key, names).encode())
        issuer = self.issuers[-1]
        key = self.keys[issuer.id]
        alternative = request.extensions.get_extension_for_class(lib.SubjectAlternativeName).value
        builder = (
            self._builder(subject_of(self.wanted.common_name), request.subject, request.public_key(), ttl)
            .add_extension(alternative, critical=False)
            .add_extension(lib.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        )
        certificate = builder.sign(key, SHA256())
        described = x509.describe_certificate(pem_of(certificate))
        self.issued[described.serial] = certificate
        return Issued(pem_of(certificate), issuer.certificate + "\n", described)

    def examine(self, pem: str, chain: str, private_key: Sensitive, now: datetime) -> Certificate:
        """What it says, once it is proven."""
        assert x509.belongs_to_key(pem, private_key)
        assert not x509.chain_is_broken(pem, chain, pem_of(self.root), now)
        return x509.describe_certificate(pem)

    def find(self, serial: str) -> Certificate | None:
        """What was signed; what has ended long ago is tidied away."""
        if (certificate := self.issued.get(serial)) is None:
            return None
        described = x509.describe_certificate(pem_of(certificate))
        return Certificate(serial, described.names, described.begins_at, described.ends_at, serial in self.revoked)

    def published(self, serial: str) -> Publication | None:
        """At once."""
        return Publication(serial in self.revoked, OCSP)

    def revoke(self, serial: str) -> None:
        """At once."""
        self.revoked.add(serial)

    def accepts(self, der: bytes) -> bool:
        """Whether a client takes a certificate that it was served, by the time and what it is told of revocations."""
        certificate = lib.load_der_x509_certificate(der)
        valid = certificate.not_valid_before_utc <= self.now < certificate.not_valid_after_utc
        return valid and x509.serial_of(certificate) not in self.revoked and self._signer_holds(certificate)

    def _signer_holds(self, certificate: lib.Certificate) -> bool:
        signer = x509.describe_authority(pem_of(certificate))["signer_key_id"]
        return any(issuer.key_id == signer and issuer.ends_at > self.now for issuer in self.issuers)


@dataclass
class Server:
    """A TLS server of one secret: it makes a new context for each certificate that it is told of."""

    path: str
    strategy: CertificateStrategy
    file: Path
    issued_at: datetime
    current: SecretFields | None = None
    previous: SecretFields | None = None
    context: ssl.SSLContext = field(default_factory=lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))

    def rotate(self, now: datetime) -> None:
        """A new certificate in force, which the server takes."""
        candidate = self.strategy.mint(self.current)
        self.strategy.verify(Change(self.path, 1, candidate, self.current))
        self.previous, self.current, self.issued_at = self.current, candidate, now
        self.file.write_text(candidate["private_key"].reveal() + candidate["bundle"].reveal())
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(self.file)

    def retire(self) -> None:
        """End the certificate before, once its grace is over."""
        if self.previous:
            self.strategy.retire(self.strategy.credential_id(self.previous), 1)
        self.previous = None

    def facts(self, now: datetime) -> Facts:
        """What decides on its renewal."""
        assert self.current is not None
        return Facts(self.path, Schedule(), now, self.issued_at, expires_at=expiry(self.current))


class Simulation:
    """So many servers, each in another moment of its certificate's life when the year begins, none of them late."""

    def __init__(self, certificates: int, life: timedelta, directory: Path) -> None:
        self.authority = SimulatedAuthority(life)
        self.year, self.life = CertificateYear(), life
        self.client = ssl.create_default_context(cadata=pem_of(self.authority.root))
        self.client.verify_flags |= ssl.VerifyFlags(NO_CHECK_TIME)
        self.servers = [self._server(number, certificates, directory) for number in range(certificates)]
        self.events: list[tuple[datetime, int, bool]] = []
        for number in range(certificates):
            self._plan(number)

    def _server(self, number: int, certificates: int, directory: Path) -> Server:
        name = f"s{number}.internal"
        names, keys = SubjectNames(name, frozenset({name}), frozenset()), CryptographyKeys()
        made: Any = CertificateStrategy
        terms = {"names": names, "kind": CertificateKey.P_256, "ttl": self.life}
        strategy = made(
            name, self.authority, keys, lambda: self.authority.now, **terms, life=self.life * RENEWED_AFTER + GRACE
        )
        issued_at = BEGIN - self.life * RENEWED_AFTER * number / certificates
        server = Server(name, strategy, directory / f"{secrets.token_hex(4)}.pem", issued_at)
        self.authority.now = issued_at
        try:
            server.current = strategy.mint(None)
        finally:
            self.authority.now = BEGIN
        server.file.write_text(server.current["private_key"].reveal() + server.current["bundle"].reveal())
        server.context.load_cert_chain(server.file)
        return server

    def _plan(self, number: int) -> None:
        """The first look at which it is due."""
        server, now = self.servers[number], self.authority.now
        at = outlook(server.facts(max(now, server.issued_at))).at
        assert at is not None
        heappush(self.events, (BEGIN + LOOK * ceil((at - BEGIN) / LOOK), number, False))

    def live(self, every: timedelta) -> CertificateYear:
        """The whole year; all the while a client connects to one server after the other, each time so much is over."""
        for look in range(YEAR // every):
            until = BEGIN + every * look
            while self.events and self.events[0][0] <= until:
                self._happen(*heappop(self.events))
            self.authority.now = until
            self.year.intermediates += self.authority.renew()
            self._connect(self.servers[look % len(self.servers)])
        return self.year

    def _happen(self, at: datetime, number: int, retires: bool) -> None:
        server, self.authority.now = self.servers[number], at
        if retires:
            server.retire()
            self._connect(server)
            return
        before, then = server.facts(at - LOOK), server.facts(at)
        self.year.early += at - LOOK >= max(server.issued_at, BEGIN) and due(before) is not None
        assert due(then) is not None
        assert then.expires_at is not None
        self.year.paged += alarm(then) is not None
        self.year.least_left = min(self.year.least_left, (then.expires_at - at) / self.life)
        self._connect(server)
        server.rotate(at)
        self.year.renewals += 1
        self._connect(server)
        heappush(self.events, (at + GRACE, number, True))
        self._plan(number)

    def _connect(self, server: Server) -> None:
        self.year.handshakes += 1
        self.year.failed += not self._accepted(server)

    def _accepted(self, server: Server) -> bool:
        try:
            served = handshake(self.client, server.context, server.path)
        except ssl.SSLError:
            return False
        return self.authority.accepts(served)


def live_a_year(certificates: int, life: timedelta, directory: Path, every: timedelta) -> CertificateYear:
    """What comes of so many certificates in a year, while a client connects ``every`` so often; files lie in the
    directory.
    """
    return Simulation(certificates, life, directory).live(every)


def subject_of(name: str) -> lib.Name:
    """A common name alone."""
    return lib.Name([lib.NameAttribute(lib.NameOID.COMMON_NAME, name)])


def pem_of(certificate: lib.Certificate) -> str:
    """As text."""
    return certificate.public_bytes(Encoding.PEM).decode()
