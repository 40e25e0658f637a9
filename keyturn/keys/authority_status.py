"""Where the catalogue's authorities stand, told by what the hub shows to anybody, and their renewal once it is due."""

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
    """Where an authority stands."""

    IN_FORCE = "in force"
    WAITING = "its successor waits"
    DUE = "due"
    LATE = "late"
    ENDED = "ended"
    ABSENT = "no issuer"
    DENIED = "absent, or not to be looked at"
    UNKNOWN = "unknown"
    """Nobody could look."""


WELL: Final = (AuthorityStanding.IN_FORCE, AuthorityStanding.WAITING, AuthorityStanding.DUE)


@dataclass(frozen=True)
class AuthorityStatus:
    """One authority, in names only. ``due_at`` is when its issuer is followed by another; None where nobody knows.

    ``why`` says what is to be done, ``error`` why nobody could look; both mostly empty.
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
        """Whether something is to be done or told."""
        return self.standing not in (AuthorityStanding.IN_FORCE, AuthorityStanding.WAITING)

    @property
    def alarm(self) -> str:
        """Why a person has to look; mostly empty."""
        return "" if self.standing in WELL else self.error or self.why

    def to_data(self) -> dict[str, Any]:
        """For scripts."""
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
    """Every authority of the catalogue, those first that sign others."""
    wanted = wanted_authorities(workspace.catalogue.pki)
    return side_by_side(lambda each: authority_status(workspace, each), wanted, AT_ONCE)


def authority_status(workspace: Workspace, wanted: WantedAuthority) -> AuthorityStatus:
    """One of them. Whatever keeps it from being looked at is part of the answer."""
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
    """Where it stands, once it was looked at."""
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
    """The names of those of which something is to be done or told; of all, where it is ``forced``. Raises NotFound."""
    if name is not None and name not in workspace.catalogue.pki:
        remedy = advice(name, workspace.catalogue.pki, "Declare it in the catalogue's section pki")
        raise NotFound("renew", name, "the catalogue has no authority of that name", remedy)
    statuses = authority_statuses(workspace)
    return [each.name for each in statuses if name in (None, each.name) and (forced or each.due)]


def renew_authority(workspace: Workspace, name: str) -> KeyTurn:
    """Bring one authority to what is declared, which renews it where it is due; a login that may not says so.

    That is an error once it is late, or where there is no issuer. Raises what else hinders it.
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
        raise Invalid("renew", blocked.place, blocked.why, "Mend that; the next run goes on from there")
    did = "; ".join(f"{step.kind}: {step.place}" for step in done)
    return KeyTurn(name, did or "nothing was to be done", changed=bool(done))


def _not_allowed(status: AuthorityStatus, error: Denied) -> KeyTurn:
    if status.alarm:
        raise Denied("renew", status.name, status.alarm, f"{REMEDY}: the one of this run may not") from None
    text = f"{status.why}, and this login may not renew it" if status.why else f"this login may not look: {error.name}"
    return KeyTurn(status.name, f"{text}. {REMEDY}", blocked=True)
