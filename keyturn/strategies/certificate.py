"""Certificates of the hub's PKI engine: the private key is made here, and only its public half is sent."""

import ipaddress
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from keyturn.core.errors import CandidateRejected, Invalid, Unavailable, Unproven
from keyturn.core.ports.engines import OCSP, Authority, Certificate, CertificateRole, SubjectNames
from keyturn.core.ports.keys import CertificateKey, KeyMaker
from keyturn.core.ports.strategies import EXPIRES_AT, Change, RevokeResult
from keyturn.core.rights.rights import HubPlaces, Section, allow
from keyturn.core.schedule.renewal_info import RenewalAdviser
from keyturn.core.sensitive import SecretFields
from keyturn.settings import durations
from keyturn.settings.fields import EngineMount, EngineRole, PositiveDuration, matching, refused
from keyturn.strategies.base import StrategyBase, StrategySettings, Tools, no_place

ROUNDING: Final = timedelta(minutes=1)
"""Certificates have whole seconds, and some authorities begin them a little in the past."""
SHORTEST: Final = timedelta(hours=1)
"""The shortest life whose last third the schedule, which runs every 15 minutes, is sure to meet."""
RENEWED_AFTER: Final = 2 / 3
"""The part of its life after which the schedule replaces an expiring value."""


class CertificateStrategy(StrategyBase):
    """A new key and certificate for each version; the old one is revoked after its grace.

    ``life`` is how long a candidate must last when it is put in force: until the next one's grace is over. A mint that
    dies before its candidate is saved leaves a certificate without its key, so nothing is swept.
    """

    credential_fields = frozenset({"certificate", "private_key", "chain", "bundle", "serial", EXPIRES_AT})
    mints_at_target = True

    def __init__(
        self,
        path: str,
        authority: Authority,
        keys: KeyMaker,
        clock: Callable[[], datetime],
        *,
        names: SubjectNames,
        kind: CertificateKey,
        ttl: timedelta,
        life: timedelta,
        adviser: RenewalAdviser | None = None,
    ) -> None:
        self.path = path
        self.authority = authority
        self.keys = keys
        self.clock = clock
        self.names = names
        self.kind = kind
        self.ttl = ttl
        self.life = life
        self.adviser = adviser

    def preflight(self, current: SecretFields | None, candidate: SecretFields | None) -> None:
        """Refuse to replace or revoke a certificate for wholly other names, and a role that can't issue what is asked.

        Raises Invalid, NotFound.
        """
        if current is not None and "serial" in current:
            self._must_be_ours(self.authority.find(current["serial"].reveal()))
        if candidate is None:
            self._must_fit(self.authority.allows())

    def mint(self, current: SecretFields | None) -> SecretFields:
        """Return a new key and its certificate. Raises Invalid, and revokes it, when it lasts less than was asked."""
        key = self.keys.private_key(self.kind)
        issued = self.authority.sign(key, self.names, self.ttl)
        certificate = issued.certificate
        if (lasts := certificate.ends_at - certificate.begins_at) < self.ttl - ROUNDING:
            self.authority.revoke(certificate.serial)
            hint = "Lower ttl, raise max_ttl of the role and max_lease_ttl of the mount, or renew the authority itself"
            raise Invalid("sign", self.authority.name, f"it is valid for {lasts}, and ttl asks for {self.ttl}", hint)
        fields = {"certificate": issued.pem, "private_key": key, "chain": issued.chain}
        fields |= {"bundle": issued.pem + issued.chain, "serial": certificate.serial}
        fields |= {EXPIRES_AT: certificate.ends_at.isoformat()}
        return SecretFields(fields)

    def verify(self, change: Change) -> None:
        candidate, now = change.candidate, self.clock()
        pem, chain = candidate["certificate"].reveal(), candidate["chain"].reveal()
        certificate = self.authority.examine(pem, chain, candidate["private_key"], now)
        if flaw := next(self._flaws(certificate, change, now), None):
            raise CandidateRejected("verify", f"{self.path}:certificate", flaw, "Run the rotation again")

    def abandon(self, change: Change) -> None:
        self.authority.revoke(change.candidate["serial"].reveal())

    def credential_id(self, current: SecretFields) -> Mapping[str, str]:
        return {"mount": self.authority.mount, "serial": current["serial"].reveal()} if "serial" in current else {}

    def retire(self, credential_id: Mapping[str, str], sequence: int) -> None:
        """Revoke the old certificate. A missing or expired one is success.

        Raises Invalid where the catalogue names another engine by now.
        """
        if "serial" not in credential_id:
            return
        mount, own_mount = credential_id["mount"], self.authority.mount
        if mount != own_mount:
            problem = f"the certificate is of the engine at {mount}, and the catalogue says {own_mount}"
            hint = "Put the catalogue back until the old certificate is retired"
            raise Invalid("revoke", f"{mount}/cert/{credential_id['serial']}", problem, hint)
        serial = credential_id["serial"]
        self.authority.revoke(serial)
        self._must_be_told(serial)

    def revoke(self, credential: SecretFields, sequence: int) -> RevokeResult:
        """Revoke the certificate; clients that check no revocation list accept it until it ends.

        Raises Invalid for a certificate in force that is for wholly other names.
        """
        if "serial" not in credential:
            return RevokeResult()
        serial = credential["serial"].reveal()
        certificate = self.authority.find(serial)
        ends_at = certificate.ends_at if certificate else expiry(credential)
        if ends_at is not None and ends_at <= self.clock():
            return RevokeResult()
        until = f"until {ends_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if ends_at else "until it expires"
        if certificate is None:
            left = f"the certificate {serial}, which {self.authority.mount} does not know: revoke it where it was made"
            return RevokeResult(outlives=(f"{left}; it is accepted {until}",))
        if not certificate.revoked:
            self._must_be_ours(certificate)
            self.authority.revoke(serial)
        left = f"the certificate {serial} where no revocation list is checked, or an older copy of it"
        return RevokeResult(outlives=(f"{left}, {until}",))

    def find_everything(self, spared: Sequence[SecretFields]) -> Iterable[str]:
        raise no_place(f"{self.authority.mount} does not say which of its certificates were this secret's")

    def accepts(self, credential: SecretFields) -> bool | None:
        """Whether hub and OCSP accept it: not once revoked or expired; None where the hub does not know it."""
        certificate = self.authority.find(credential["serial"].reveal()) if "serial" in credential else None
        ends_at = certificate.ends_at if certificate else expiry(credential)
        if ends_at is not None and ends_at <= self.clock():
            return False
        if certificate is None:
            return None
        return not certificate.revoked or self._called_good(certificate.serial)

    def revocation(self, credential: SecretFields) -> str:
        certificate = self.authority.find(credential["serial"].reveal()) if "serial" in credential else None
        if certificate is None or certificate.revoked:
            return f"the certificate {certificate.serial}" if certificate else ""
        publication = self.authority.published(certificate.serial)
        if publication is None or not publication.revoked:
            return ""
        return f"the certificate {certificate.serial}, by {publication.by},"

    def renewal(self, credential: SecretFields) -> datetime | None:
        """Return when the operator's ACME server suggests renewal. Raises the error that prevents asking."""
        if self.adviser is None or "certificate" not in credential:
            return None
        return self.adviser.window(credential["certificate"].reveal()).moment

    def _flaws(self, certificate: Certificate, change: Change, now: datetime) -> Iterator[str]:
        candidate, current = change.candidate, change.current
        if certificate.names != self.names:
            yield "the certificate is for other names than the catalogue's"
        if certificate.ends_at < now + self.life:
            yield f"the certificate ends {certificate.ends_at:%Y-%m-%d %H:%M}, before the next one's grace is over"
        bundle = candidate["certificate"].reveal() + candidate["chain"].reveal()
        if candidate["serial"].reveal() != certificate.serial or candidate["bundle"].reveal() != bundle:
            yield "serial or bundle belong to another certificate"
        if current is not None and current.get("serial") == candidate["serial"]:
            yield "the certificate is the one that serves already"
        stored = self.authority.find(certificate.serial)
        if stored is None or stored.revoked:
            yield "the authority has revoked the certificate, or does not know it"
        elif (publication := self.authority.published(stored.serial)) and publication.revoked:
            yield f"the authority reports the certificate as revoked, by {publication.by}"

    def _must_be_told(self, serial: str) -> None:
        """Raises Unavailable while OCSP reports a revoked certificate as good; a revocation list is written later."""
        certificate = self.authority.find(serial)
        if certificate and certificate.ends_at > self.clock() and self._called_good(serial):
            problem = f"the authority still reports to clients by {OCSP} that it is good"
            raise Unavailable("revoke", f"{self.authority.mount}/cert/{serial}", problem, "It is looked at again")

    def _called_good(self, serial: str) -> bool:
        try:
            publication = self.authority.published(serial)
        except Unproven:
            return False
        return publication is not None and publication.by == OCSP and not publication.revoked

    def _must_be_ours(self, certificate: Certificate | None) -> None:
        if certificate is None or certificate.names.all & self.names.all:
            return
        names = ", ".join(sorted(certificate.names.all))
        problem = f"the secret holds the certificate {certificate.serial} for {names}"
        hint = f"Correct the names, or take serial out of {self.path}: then the old certificate is not revoked"
        raise Invalid("rotate", self.authority.name, f"{problem}, none of which the catalogue names", hint)

    def _must_fit(self, role: CertificateRole) -> None:
        name = self.authority.name
        if role.longest is not None and role.longest < self.ttl:
            problem = f"its certificates last {role.longest} at most, and ttl asks for {self.ttl}"
            raise Invalid("read", name, problem, "Lower ttl, or raise the role's max_ttl")
        if not role.takes(self.kind):
            problem = f"it signs keys of {role.key_type} {role.key_bits or ''}".rstrip()
            raise Invalid("read", name, f"{problem}, and the catalogue asks for {self.kind}", "Change either")
        if not role.stores:
            problem = "the hub does not keep what it signs (no_store), so nothing can be revoked"
            raise Invalid("read", name, problem, "Set the role's no_store to false")
        if role.leases:
            problem = "its certificates are revoked when the login that asked for them ends (generate_lease)"
            raise Invalid("read", name, problem, "Set the role's generate_lease to false")


def expiry(fields: SecretFields) -> datetime | None:
    return datetime.fromisoformat(fields[EXPIRES_AT].reveal()) if EXPIRES_AT in fields else None


# --- in the catalogue --------------------------------------------------------------------------------------


def _no_address(name: str) -> str:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name.lower()
    raise refused("is an IP address", "Name it under ip_sans.")


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise refused("is not an IP address", "Write one such as 10.1.2.3 or 2001:db8::1.") from None


def _shortest(ttl: timedelta) -> timedelta:
    if ttl < SHORTEST:
        raise refused("is shorter than an hour", "Lengthen it: Keyturn looks every 15 minutes for what is due.")
    return ttl


_LABEL: Final = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?"
_DNS: Final = rf"(?=.{{1,253}}$)(\*\.)?{_LABEL}(\.{_LABEL})*"

DnsName = Annotated[
    str,
    matching(_DNS, "is not a DNS name", "Write one such as www.example.com or *.example.com, in ASCII."),
    AfterValidator(_no_address),
    WithJsonSchema({"type": "string", "pattern": f"^{_DNS}$"}),
]
CommonName = Annotated[
    DnsName,
    matching(r".{1,64}", "is longer than 64 characters", "Choose a shorter one, and put this one in alt_names."),
]
"""X.520's upper bound for a common name (RFC 5280, appendix A)."""
IpAddress = Annotated[str, AfterValidator(_address), WithJsonSchema({"type": "string"})]


class CertificateSettings(StrategySettings):
    """A TLS certificate of the hub's PKI engine, with a new key each time."""

    ends_by_itself = True
    tells_revoked = True

    strategy: Literal["certificate"]
    """How the secret is replaced."""
    mount: EngineMount = "pki"
    """Where the hub's PKI engine is mounted."""
    role: EngineRole
    """The engine's role, which limits what may be asked for. Several secrets may share it."""
    issuer: EngineRole | None = None
    """The name or id of the issuer, where it is another than the role's own."""
    common_name: CommonName
    """The name in the subject; it is one of the alternative names too."""
    alt_names: tuple[DnsName, ...] = ()
    """Further DNS names."""
    ip_sans: tuple[IpAddress, ...] = ()
    """IP addresses."""
    ttl: Annotated[PositiveDuration, AfterValidator(_shortest)]
    """How long a certificate lasts; it is replaced when two thirds of that are over, or sooner by interval or
    cron."""
    key: CertificateKey = Field(CertificateKey.P_256)
    """What the private key is made of."""
    renewal_info: bool = False
    """Whether the ACME server that the operator names is asked when it had best be renewed (RFC 9773)."""

    @property
    def asks_for_renewal(self) -> bool:
        return self.renewal_info

    @property
    def names(self) -> SubjectNames:
        return SubjectNames(self.common_name, frozenset({self.common_name, *self.alt_names}), frozenset(self.ip_sans))

    @property
    def renewed(self) -> timedelta:
        return min(self.ttl * RENEWED_AFTER, self.longest or self.ttl)

    @model_validator(mode="after")
    def _grace_fits(self) -> Self:
        left = self.ttl - self.renewed
        if self.grace > left:
            problem = f"grace ({durations.show(self.grace)}) is longer than what is left of ttl at the renewal"
            remedy = f"Set it to {durations.show(left)} or less, lengthen ttl, or shorten interval."
            raise refused(problem, remedy, "grace")
        return self

    def commands_to_end(self) -> tuple[str, ...]:
        """The serial number is in the leaked certificate."""
        return (f"vault write {self.mount}/revoke serial_number=SERIAL",)

    def rights(self, places: HubPlaces) -> Iterator[Section]:
        through = f"{self.mount}/issuer/{self.issuer}" if self.issuer else self.mount
        yield Section(
            "For the strategy certificate: what a role allows, signing requests, seeing what was issued, revoking it."
            " Revoking can't be narrowed to a role.",
            (
                allow(f"{self.mount}/roles/{self.role}", "read"),
                allow(f"{through}/sign/{self.role}", "update"),
                allow(f"{self.mount}/cert/*", "read"),
                allow(f"{self.mount}/revoke", "update", serial_number=()),
            ),
        )

    def open(self, path: str, tools: Tools) -> CertificateStrategy:
        return CertificateStrategy(
            path,
            tools.hub.authority(self.mount, self.role, self.issuer),
            tools.keys,
            tools.clock,
            names=self.names,
            kind=self.key,
            ttl=self.ttl,
            life=self.renewed + self.grace,
            adviser=tools.adviser if self.renewal_info else None,
        )
