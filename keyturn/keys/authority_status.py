"""The status of the catalogue's authorities, and their renewal when due."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from keyturn.catalogue.pki import wanted_authorities
from keyturn.core.errors import Denied, Invalid, KeyturnError, NotFound
from keyturn.core.own_keys import KeyTurn
from keyturn.core.ports.authorities import (
    Issuer,
    PkiStep,
    PublishedIssuers,
    StepKind,
    Succession,
    WantedAuthority,
    renewal_of,
    succeed,
)
from keyturn.core.text.suggest import advice
from keyturn.keys.authorities import apply_authority
from keyturn.rotation.state.context import Workspace, side_by_side

AT_ONCE: Final = 8
REMEDY: Final = "Run `keyturn pki apply` with a login that has the policy keyturn-pki"


class AuthorityStanding(StrEnum):
    """The state of an authority."""

    IN_FORCE = "in force"
    WAITING = "its successor waits"
    DUE = "due"
    LATE = "late"
    ENDED = "ended"
    ABSENT = "no issuer"
    DENIED = "absent, or not to be looked at"
    UNKNOWN = "unknown"
    """It could not be read."""


WELL: Final = (AuthorityStanding.IN_FORCE, AuthorityStanding.WAITING, AuthorityStanding.DUE)


@dataclass(frozen=True)
class AuthorityStatus:
    """The status of one authority, in names only. ``due_at`` is the known time of succession.

    ``why`` explains what to do, ``error`` why it is unreadable.
    """

    name: str
    mount: str
    standing: AuthorityStanding
    issuer: Issuer | None = None
    due_at: datetime | None = None
    why: str = ""
    error: str = ""

    @property
    def due(self) -> bool:
        """Whether the authority requires work or a report."""
        return self.standing not in (AuthorityStanding.IN_FORCE, AuthorityStanding.WAITING)

    @property
    def alarm(self) -> str:
        """The reason for a person to act, or empty."""
        return "" if self.standing in WELL else self.error or self.why

    def to_data(self) -> dict[str, Any]:
        """The status as JSON data."""
        issuer = self.issuer
        return {
            "name": self.name,
            "mount": self.mount,
            "state": str(self.standing),
            "issuer": issuer.key_name or issuer.id if issuer else "",
            "key": issuer.key if issuer else "",
            "ends_at": issuer.ends_at.isoformat() if issuer else None,
            "due_at": self.due_at.isoformat() if self.due_at else None,
            "why": self.why,
            "error": self.error,
        }


def authority_statuses(workspace: Workspace) -> list[AuthorityStatus]:
    """Every authority of the catalogue, signers first."""
    wanted = wanted_authorities(workspace.catalogue.pki)
    return side_by_side(lambda each: authority_status(workspace, each), wanted, AT_ONCE)


def authority_status(workspace: Workspace, wanted: WantedAuthority) -> AuthorityStatus:
    """The status of one authority, with any error."""
    try:
        state = workspace.hub.pki(wanted.mount).published()
        signer = _signer(workspace, wanted)
        now = workspace.hub_now()
    except KeyturnError as error:
        standing = AuthorityStanding.DENIED if isinstance(error, Denied) else AuthorityStanding.UNKNOWN
        return AuthorityStatus(wanted.name, wanted.mount, standing, error=str(error))
    issuer, succession = state.in_force, succeed(wanted, state, signer, now)
    due_at = succession.at if succession else renewal_of(wanted, issuer) if issuer else None
    standing = standing_of(wanted, issuer, succession, now)
    return AuthorityStatus(wanted.name, wanted.mount, standing, issuer, due_at, succession.why if succession else "")


def standing_of(
    wanted: WantedAuthority, issuer: Issuer | None, succession: Succession | None, now: datetime
) -> AuthorityStanding:
    """The state of an authority that could be read."""
    if issuer is None:
        return AuthorityStanding.ABSENT
    if issuer.ends_at <= now:
        return AuthorityStanding.ENDED
    if succession is None:
        return AuthorityStanding.IN_FORCE
    if succession.kind is StepKind.WAIT:
        return AuthorityStanding.WAITING
    return AuthorityStanding.LATE if succession.late(wanted, now) else AuthorityStanding.DUE


def _signer(workspace: Workspace, wanted: WantedAuthority) -> PublishedIssuers | None:
    return workspace.hub.pki(workspace.catalogue.pki[wanted.signer].mount).published() if wanted.signer else None


def due_authorities(workspace: Workspace, name: str | None = None, *, forced: bool = False) -> list[str]:
    """The names of the due authorities, or all if ``forced``. Raises NotFound."""
    if name is not None and name not in workspace.catalogue.pki:
        remedy = advice(name, workspace.catalogue.pki, "Declare it in the catalogue's section pki")
        raise NotFound("renew", name, "the catalogue has no authority of that name", remedy)
    statuses = authority_statuses(workspace)
    return [each.name for each in statuses if name in (None, each.name) and (forced or each.due)]


def renew_authority(workspace: Workspace, name: str) -> KeyTurn:
    """Apply one authority's declaration, which renews it if due.

    A login without the right gets a blocked result, or Denied in case of an alarm.
    """
    wanted = next(each for each in wanted_authorities(workspace.catalogue.pki) if each.name == name)
    done: list[PkiStep] = []
    try:
        left = apply_authority(workspace, wanted, done.append)
    except Denied as error:
        if done:
            raise
        return _not_allowed(authority_status(workspace, wanted), error)
    if blocked := next((step for step in left if step.kind is StepKind.BLOCKED), None):
        raise Invalid("renew", blocked.place, blocked.why, "Fix that; the next run continues from there")
    did = "; ".join(f"{step.kind}: {step.place}" for step in done)
    return KeyTurn(name, did or "nothing was to be done", changed=bool(done))


def _not_allowed(status: AuthorityStatus, error: Denied) -> KeyTurn:
    if status.alarm:
        raise Denied("renew", status.name, status.alarm, f"{REMEDY}: the one of this run may not") from None
    text = f"{status.why}, and this login may not renew it" if status.why else f"this login may not look: {error.name}"
    return KeyTurn(status.name, f"{text}. {REMEDY}", blocked=True)
