"""The ports of the hub's engines: leased credentials, database accounts, certificates."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

from keyturn.core.ports.keys import key_parameters
from keyturn.core.sensitive import SecretFields, Sensitive

# --- leased credentials ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class IssuedLease:
    """An issued credential and its lease.

    ``ttl`` counts from the answer and is at most the requesting login's. ``asker`` identifies that login to the
    adapter.
    """

    lease_id: str
    fields: SecretFields
    ttl: timedelta
    renewable: bool
    asker: object = field(default=None, repr=False, compare=False)


class Lessor(Protocol):
    """Issues credentials of any engine with leases. Serves many threads."""

    def issue_lease(self, path: str) -> IssuedLease:
        """Issue a credential by its read path, such as ``database/creds/ml-reader``.

        Raises NotFound, Denied, and Invalid without a lease.
        """

    def renew_lease(self, lease: IssuedLease, ttl: timedelta) -> IssuedLease:
        """Renew the lease for ``ttl`` from now, up to its limit; zero requests its default.

        Raises NotFound if ended, Invalid if never renewable.
        """

    def revoke_lease(self, lease_id: str) -> None:
        """End a lease and its credential before returning. Absent is success."""


# --- accounts ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Terms:
    """A role's default and maximum lease duration."""

    default: timedelta
    longest: timedelta


@dataclass(frozen=True)
class Lease:
    """A new account; ``terms`` are limited by the requesting token's life.

    ``accessor`` is the token created for the request, empty for the login itself.
    """

    lease_id: str
    fields: SecretFields
    terms: Terms
    accessor: str = ""


@dataclass(frozen=True)
class LeaseStanding:
    """A lease's remaining time, and the duration last granted."""

    left: timedelta
    granted: timedelta


@dataclass(frozen=True)
class StaticRole:
    """An account whose password the engine changes; ``period`` is None for a calendar schedule."""

    username: str
    period: timedelta | None


LOGIN: Final[Mapping[str, str]] = {"username": "username", "password": "password"}


@dataclass(frozen=True)
class LeaseShape:
    """Where an engine keeps the leases of a role, as paths below its mount with ``{{role}}``, and its answers' keys.

    ``fields`` are the secret's fields with their keys, ``account`` the field that names the account. ``body`` makes
    the request a POST. ``terms`` is a path with the times that a role lacks; absent there, the mount's apply. Without
    ``ends_with_lease`` a credential works until it expires, whatever is revoked.
    """

    credential: str = "creds/{{role}}"
    body: Mapping[str, Any] | None = None
    role: str = "roles/{{role}}"
    terms: str = ""
    default_ttl: str = "default_ttl"
    max_ttl: str = "max_ttl"
    fields: Mapping[str, str] = field(default_factory=lambda: LOGIN)
    account: str = "username"
    renewable: bool = True
    ends_with_lease: bool = True


@dataclass(frozen=True)
class StaticShape:
    """The same of static roles. ``account`` and ``period`` are keys of the role's answer."""

    role: str = "static-roles/{{role}}"
    account: str = "username"
    period: str = "rotation_period"
    credential: str = "static-creds/{{role}}"
    fields: Mapping[str, str] = field(default_factory=lambda: LOGIN)
    rotate: str = "rotate-role/{{role}}"


LEASES: Final = LeaseShape()
STATIC_ROLES: Final = StaticShape()
"""The shapes of the database engine."""


class DatabaseEngine(Protocol):
    """One engine of the hub that makes accounts, such as the database engine. Errors are named by hub path."""

    mount: str

    def terms(self, role: str) -> Terms:
        """The role's lease terms. Raises NotFound."""

    def issue(self, role: str, owner: str = "") -> Lease:
        """Issue an account; a token created for it records ``owner``. Raises NotFound without the role."""

    def leases(self, role: str) -> list[str]:
        """The ids of a role's leases."""

    def lease(self, lease_id: str) -> LeaseStanding | None:
        """The state of a lease; None if it and its account have ended."""

    def renew(self, lease_id: str) -> None:
        """Renew a lease for its role's default, up to its limit. Raises NotFound if ended."""

    def revoke(self, lease_id: str) -> None:
        """End a lease and its account before returning. Absent is success."""

    def tokens(self, owner: str) -> list[str]:
        """Accessors of this workspace's live lease tokens of this ``owner``."""

    def end_token(self, owner: str, accessor: str) -> None:
        """End such a token and its leases. Absent is success."""

    def static_role(self, role: str) -> StaticRole | None:
        """Return a static role; None if absent."""

    def static_credential(self, role: str) -> SecretFields:
        """Return a static role's current fields. Raises NotFound."""

    def rotate_static(self, role: str) -> None:
        """Change a static role's password; the old one stops working. Raises NotFound."""


# --- certificates ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SubjectNames:
    """A certificate's subjects: lower-case DNS names, including ``common_name``, and IP addresses."""

    common_name: str
    dns: frozenset[str]
    addresses: frozenset[str]

    @property
    def all(self) -> frozenset[str]:
        """Every name and address."""
        return self.dns | self.addresses | {self.common_name}


@dataclass(frozen=True)
class Certificate:
    """A certificate's content; ``serial`` is hex bytes with colons, as in the hub."""

    serial: str
    names: SubjectNames
    begins_at: datetime
    ends_at: datetime
    revoked: bool = False


@dataclass(frozen=True)
class Issued:
    """A signed certificate as PEM, its known chain, and its content."""

    pem: str
    chain: str
    certificate: Certificate


@dataclass(frozen=True)
class CertificateRole:
    """A role's limits; ``longest`` is None if the mount decides, ``key_type`` may be any.

    Without ``stores`` the hub forgets its certificates, so they can't be revoked. With ``leases`` they are revoked with
    the requesting login.
    """

    longest: timedelta | None
    key_type: str
    key_bits: int
    stores: bool
    leases: bool

    def takes(self, kind: str) -> bool:
        """Whether it signs keys of this kind; 0 bits allows every size that the hub considers strong."""
        key = key_parameters(kind)
        return self.key_type == "any" or (self.key_type == key["key_type"] and self.key_bits in (0, key["key_bits"]))


@dataclass(frozen=True)
class Publication:
    """A certificate's published status and source: OCSP, or a list up to an hour old."""

    revoked: bool
    by: str


OCSP: Final = "OCSP"
REVOCATION_LIST: Final = "its revocation list"


class Authority(Protocol):
    """One role of a PKI engine. Errors are named by ``name``, its hub path."""

    name: str
    mount: str

    def allows(self) -> CertificateRole:
        """The role's limits. Raises NotFound."""

    def sign(self, private_key: Sensitive, names: SubjectNames, ttl: timedelta) -> Issued:
        """Sign a certificate; only the public key leaves this machine.

        Raises Invalid if the role refuses names or key.
        """

    def examine(self, pem: str, chain: str, private_key: Sensitive, now: datetime) -> Certificate:
        """The certificate's content after checking key, authority and validity at ``now``.

        Raises CandidateRejected.
        """

    def find(self, serial: str) -> Certificate | None:
        """Return a certificate stored in the hub; None for an unknown serial."""

    def published(self, serial: str) -> Publication | None:
        """The published status of a stored certificate; None if none.

        From OCSP, else the revocation list, signed by the issuer and current. Raises Unproven otherwise, and query
        errors.
        """

    def revoke(self, serial: str) -> None:
        """Revoke it on the authority's list. Absent and expired are success."""
