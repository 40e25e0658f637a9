"""The ports of what the hub makes by itself: credentials with leases, accounts of a database engine, certificates."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Protocol

from keyturn.core.ports.keys import key_parameters
from keyturn.core.sensitive import SecretFields, Sensitive

# --- credentials for whoever asks --------------------------------------------------------------------------


@dataclass(frozen=True)
class IssuedLease:
    """A credential that an engine has made for whoever asked, and the lease that it ends with.

    ``ttl`` counts from the answer on, until it ends unless it is renewed: no longer than the login that has asked for
    it, which ``asker`` is for the adapter.
    """

    lease_id: str
    fields: SecretFields
    ttl: timedelta
    renewable: bool
    asker: object = field(default=None, repr=False, compare=False)


class Lessor(Protocol):
    """Issues credentials of any engine that gives leases, such as a database's or AWS's. Serves many threads."""

    def issue_lease(self, path: str) -> IssuedLease:
        """A new credential, by the path that it is read at, such as ``database/creds/ml-reader``.

        Raises NotFound and Denied, and Invalid for a path that gives no lease.
        """

    def renew_lease(self, lease: IssuedLease, ttl: timedelta) -> IssuedLease:
        """The lease as it is once it was renewed for ``ttl`` from now on, as far as it can; zero asks for its default.

        Raises NotFound when it has ended, and Invalid for one that is never renewed.
        """

    def revoke_lease(self, lease_id: str) -> None:
        """End a lease, and what it gave, before this returns. Absent is success."""


# --- accounts ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Terms:
    """How long a role's leases last unless they are renewed, and how long they can be made to last at all."""

    default: timedelta
    longest: timedelta


@dataclass(frozen=True)
class Lease:
    """A new account; ``terms`` are the role's, and no longer than the life of the token that asked.

    ``accessor`` names the token that was made to ask for it, and is empty where the login itself has asked.
    """

    lease_id: str
    fields: SecretFields
    terms: Terms
    accessor: str = ""


@dataclass(frozen=True)
class LeaseStanding:
    """What is left of a lease, and how long it was granted for when it was issued or renewed last."""

    left: timedelta
    granted: timedelta


@dataclass(frozen=True)
class StaticRole:
    """An account that exists, whose password the engine changes; ``period`` is None where a calendar says when."""

    username: str
    period: timedelta | None


class DatabaseEngine(Protocol):
    """One database engine of the hub. Errors are named by the path in the hub."""

    mount: str

    def terms(self, role: str) -> Terms:
        """What the role's leases are like. Raises NotFound."""

    def issue(self, role: str, owner: str = "") -> Lease:
        """A new account; a token that is made to ask for it tells its ``owner``. Raises NotFound without the role."""

    def leases(self, role: str) -> list[str]:
        """The ids of a role's leases."""

    def lease(self, lease_id: str) -> LeaseStanding | None:
        """What is left of a lease; None when it has ended, and its account with it."""

    def renew(self, lease_id: str) -> None:
        """Let a lease last for its role's default again, as far as it can. Raises NotFound when it has ended."""

    def revoke(self, lease_id: str) -> None:
        """End a lease and its account, before this returns. Absent is success."""

    def tokens(self, owner: str) -> list[str]:
        """The accessors of the tokens that this workspace has made to ask for leases of this ``owner``, and live."""

    def end_token(self, owner: str, accessor: str) -> None:
        """End such a token, and whatever leases it still has. Absent is success."""

    def static_role(self, role: str) -> StaticRole | None:
        """A static role; None when there is none of that name."""

    def static_credential(self, role: str) -> SecretFields:
        """Username and password that a static role's account has now. Raises NotFound."""

    def rotate_static(self, role: str) -> None:
        """Give a static role's account a new password; the old one is refused from here on. Raises NotFound."""


# --- certificates ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SubjectNames:
    """Whom a certificate speaks for: DNS names in lower case, ``common_name`` among them, and IP addresses."""

    common_name: str
    dns: frozenset[str]
    addresses: frozenset[str]

    @property
    def all(self) -> frozenset[str]:
        """Every name and address."""
        return self.dns | self.addresses | {self.common_name}


@dataclass(frozen=True)
class Certificate:
    """What a certificate says; ``serial`` is in the hub's spelling, bytes in hex with colons."""

    serial: str
    names: SubjectNames
    begins_at: datetime
    ends_at: datetime
    revoked: bool = False


@dataclass(frozen=True)
class Issued:
    """A signed certificate as PEM, those of the authorities above it as far as the hub knows them, and what it says."""

    pem: str
    chain: str
    certificate: Certificate


@dataclass(frozen=True)
class CertificateRole:
    """What a role of the authority allows; ``longest`` is None where the mount decides, ``key_type`` may be any.

    ``stores`` is False for a role whose certificates the hub forgets, so that they can't be revoked; ``leases`` is
    True for one whose certificates are revoked with the login that asked for them.
    """

    longest: timedelta | None
    key_type: str
    key_bits: int
    stores: bool
    leases: bool

    def takes(self, kind: str) -> bool:
        """Whether it signs keys of this kind; 0 bits stands for every size that the hub finds strong enough."""
        key = key_parameters(kind)
        return self.key_type == "any" or (self.key_type == key["key_type"] and self.key_bits in (0, key["key_bits"]))


@dataclass(frozen=True)
class Publication:
    """What an authority tells clients of a certificate, and by what: OCSP, or a list, which may be an hour behind."""

    revoked: bool
    by: str


OCSP: Final = "OCSP"
REVOCATION_LIST: Final = "its revocation list"


class Authority(Protocol):
    """One role of a PKI engine of the hub. Errors are named by ``name``, its path there."""

    name: str
    mount: str

    def allows(self) -> CertificateRole:
        """What the role allows. Raises NotFound."""

    def sign(self, private_key: Sensitive, names: SubjectNames, ttl: timedelta) -> Issued:
        """A certificate for the key, of which only the public half leaves this machine.

        Raises Invalid when the role refuses the names or the key.
        """

    def examine(self, pem: str, chain: str, private_key: Sensitive, now: datetime) -> Certificate:
        """What the certificate says, once it is proven to be the key's and of this authority, and valid ``now``.

        Raises CandidateRejected.
        """

    def find(self, serial: str) -> Certificate | None:
        """A certificate that the hub keeps; None when it knows none of that serial."""

    def published(self, serial: str) -> Publication | None:
        """What clients are told of a certificate that the hub keeps; None where nobody is told anything.

        By OCSP, and where that does not tell, by the revocation list: each signed by the issuer, and not out of date.
        Raises Unproven for what is not, and what hinders a look.
        """

    def revoke(self, serial: str) -> None:
        """Put the certificate on the authority's revocation list. Absent and expired are success."""
