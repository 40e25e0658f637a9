"""Authorities that sign certificates: what a PKI engine of the hub has, what it should have, and the steps between.

A new issuer is made beside the one in force, which stays and goes on signing its own revocation list: what it has
signed holds until its own end. One with a signer above it is in force at once, since servers send it along; a root is
to be brought to whoever trusts it first.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final, Protocol

from keyturn.core.ports.keys import key_parameters

ROUNDING: Final = timedelta(minutes=1)
"""Certificates tell whole seconds, and begin half a minute in the past."""
GENERATION: Final = re.compile(r"keyturn-([1-9][0-9]{0,8})")
"""The names of the keys that are made here; an issuer has that of its key."""
ANY_KEY: Final = "any"
"""As a role says that it signs every type of key."""
LATE: Final = timedelta(days=2)
"""How long what is due may wait for a run of each day before it is late."""


@dataclass(frozen=True)
class Issuer:
    """One certificate of an authority at a mount, and what its key is called there.

    ``key_id`` and ``signer_key_id`` are the key identifiers of RFC 5280 in hex: its own, and of who has signed it.
    """

    id: str
    key_name: str
    key: str
    common_name: str
    begins_at: datetime
    ends_at: datetime
    key_id: str
    signer_key_id: str
    certificate: str = field(repr=False)
    revoked: bool = False
    """Whether somebody has revoked it in its engine, as far as that was asked."""

    @property
    def generation(self) -> int:
        """The number in the name of its key; 0 for one that was not made here."""
        return generation_of(self.key_name)


def generation_of(key_name: str) -> int:
    """The number in the name of a key; 0 for one that was not made here."""
    made = GENERATION.fullmatch(key_name)
    return int(made[1]) if made else 0


@dataclass(frozen=True)
class PublishedIssuers:
    """What a PKI engine tells anybody: ``issuers`` are those whose keys it has, ``default`` the id of who signs."""

    issuers: tuple[Issuer, ...]
    default: str

    @property
    def in_force(self) -> Issuer | None:
        """The issuer that signs by default; None where there is none."""
        return next((issuer for issuer in self.issuers if issuer.id == self.default), None)

    @property
    def newest(self) -> Issuer | None:
        """The one that was made here last."""
        made = [issuer for issuer in self.issuers if issuer.generation]
        return max(made, key=lambda issuer: issuer.generation, default=None)


@dataclass(frozen=True)
class EngineState(PublishedIssuers):
    """All that a PKI engine has. ``longest`` is the mount's limit of any life.

    ``configured`` are its settings by their paths below the mount, such as ``config/urls`` and ``roles/ml-services``;
    what is absent has no entry. ``key_types`` are those it can make, None where it does not tell.
    """

    key_names: tuple[str, ...]
    longest: timedelta
    configured: Mapping[str, Mapping[str, Any]]
    key_types: frozenset[str] | None = None

    @property
    def next_name(self) -> str:
        """What the next key is called. Only one of two that make it at once gets that name."""
        names = (*self.key_names, *(issuer.key_name for issuer in self.issuers))
        return f"keyturn-{max(map(generation_of, names), default=0) + 1}"

    def lacks(self, key_type: str) -> str:
        """Why it can't make or sign such keys; empty where it can, or does not tell."""
        if self.key_types is None or key_type in {*self.key_types, ANY_KEY}:
            return ""
        return f"the hub's engine has no {key_type} keys, but {', '.join(sorted(self.key_types))}"


@dataclass(frozen=True)
class WantedAuthority:
    """What the catalogue says of one authority. ``signer`` is the name of the one above it, empty for a root.

    ``renew_at`` is what is left of an issuer's life when the next one is made, ``introduce`` how long a new root stands
    beside the one in force, ``below`` how many levels of authorities follow. ``configured`` is as in
    :class:`EngineState`, of what is declared alone; ``lives`` are how long what it signs may last, by what it is.
    """

    name: str
    mount: str
    signer: str
    common_name: str
    organization: str
    key: str
    ttl: timedelta
    renew_at: timedelta
    introduce: timedelta
    below: int
    configured: Mapping[str, Mapping[str, Any]]
    lives: Mapping[str, timedelta]

    @property
    def is_root(self) -> bool:
        """Whether it signs itself."""
        return not self.signer


class StepKind(StrEnum):
    """What is to be done, or what hinders it."""

    CONFIGURE = "configure"
    MAKE = "new issuer"
    PROMOTE = "put in force"
    WAIT = "waits"
    BLOCKED = "blocked"


SECONDS: Final = {"h": 3600, "m": 60, "s": 1}
PART: Final = re.compile(r"([0-9]+)([hms])")
DURATION: Final = re.compile(r"([0-9]+[hms])+")
"""How Go writes durations."""


@dataclass(frozen=True)
class PkiStep:
    """One difference between what is declared and what is there; ``place`` is a path of the hub."""

    authority: str
    kind: StepKind
    place: str
    why: str

    @property
    def does(self) -> bool:
        """Whether applying it changes anything."""
        return self.kind not in (StepKind.WAIT, StepKind.BLOCKED)


def plan_authority(
    wanted: WantedAuthority, state: EngineState | None, signer: EngineState | None, now: datetime
) -> list[PkiStep]:
    """The steps from what is there to what is declared, in their order; none where nothing is to be done.

    ``state`` is None where nothing is mounted, and so is ``signer`` for a root or where its signer's mount is not
    there. Blocked is what a person has to mend first.
    """
    if state is None:
        why = f"there is no PKI engine at {wanted.mount}: `keyturn hub apply` mounts one"
        return [PkiStep(wanted.name, StepKind.BLOCKED, wanted.mount, why)]
    return [*_configuration(wanted, state), *_issuer(wanted, state, signer, now)]


def _configuration(wanted: WantedAuthority, state: EngineState) -> Iterator[PkiStep]:
    for path, settings in wanted.configured.items():
        place = f"{wanted.mount}/{path}"
        if lack := state.lacks(settings.get("key_type", ANY_KEY)):
            yield PkiStep(wanted.name, StepKind.BLOCKED, place, lack)
        elif path not in state.configured:
            yield PkiStep(wanted.name, StepKind.CONFIGURE, place, "it is absent")
        elif differing := list(_differing(settings, state.configured[path])):
            yield PkiStep(wanted.name, StepKind.CONFIGURE, place, "; ".join(differing))


def _differing(wanted: Mapping[str, Any], there: Mapping[str, Any]) -> Iterator[str]:
    for key, value in wanted.items():
        if _comparable(there.get(key)) != _comparable(value):
            yield f"{key} is {_shown(there.get(key))}, declared is {_shown(value)}"


def _comparable(value: Any) -> Any:
    """A duration in seconds: the hub says 72h or 259200s of the same. Any other value as it is."""
    if not isinstance(value, str) or not DURATION.fullmatch(value):
        return value
    return sum(int(number) * SECONDS[unit] for number, unit in PART.findall(value))


def _shown(value: Any) -> str:
    return ", ".join(map(str, value)) or "empty" if isinstance(value, list) else str(value)


def _issuer(
    wanted: WantedAuthority, state: EngineState, signer: EngineState | None, now: datetime
) -> Iterator[PkiStep]:
    if flaw := _unlimited(wanted, state, signer) or state.lacks(str(key_parameters(wanted.key)["key_type"])):
        yield PkiStep(wanted.name, StepKind.BLOCKED, wanted.mount, flaw)
        return
    if succession := succeed(wanted, state, signer, now):
        name = succession.issuer.key_name if succession.issuer else state.next_name
        yield PkiStep(wanted.name, succession.kind, f"{wanted.mount}/{name}", succession.why)


@dataclass(frozen=True)
class Succession:
    """How the issuer in force is followed by ``issuer``, or by one that is to be made, and why; from ``at`` on.

    ``at`` is None where nobody can tell since when.
    """

    kind: StepKind
    why: str
    at: datetime | None
    issuer: Issuer | None = None

    def late(self, wanted: WantedAuthority, now: datetime) -> bool:
        """Whether it has been due for longer than a run of each day explains."""
        return self.at is not None and self.at <= now - min(LATE, wanted.renew_at / 2)


def succeed(
    wanted: WantedAuthority, state: PublishedIssuers, signer: PublishedIssuers | None, now: datetime
) -> Succession | None:
    """The next step of an authority's issuers; None where the one in force is what the catalogue says."""
    current, newest = state.in_force, state.newest
    why = "there is none" if current is None else unfit(wanted, current, signer, now)
    if not why:
        return None
    due = renewal_of(wanted, current) if current else None
    since = due if due is not None and due <= now else None
    if newest is None or newest == current or unfit(wanted, newest, signer, now):
        return Succession(StepKind.MAKE, why, since)
    in_force_at = newest.begins_at + wanted.introduce
    if not wanted.is_root or current is None or current.ends_at <= now or in_force_at <= now:
        return Succession(StepKind.PROMOTE, why, in_force_at if wanted.is_root else since, newest)
    text = f"in force from {in_force_at:%Y-%m-%d %H:%M} UTC: bring it to all who trust the root before it"
    return Succession(StepKind.WAIT, text, in_force_at, newest)


def renewal_of(wanted: WantedAuthority, issuer: Issuer) -> datetime:
    """When it is to be followed by another, by its own end."""
    return issuer.ends_at - wanted.renew_at


def unfit(wanted: WantedAuthority, issuer: Issuer, signer: PublishedIssuers | None, now: datetime) -> str:
    """Why an issuer is to be followed by another; empty where it is what the catalogue says."""
    if issuer.revoked:
        return "it was revoked"
    if issuer.key != wanted.key:
        return f"its key is {issuer.key}, declared is {wanted.key}"
    if issuer.common_name != wanted.common_name:
        return f"it is called {issuer.common_name}, declared is {wanted.common_name}"
    if issuer.ends_at - now <= wanted.renew_at:
        return f"it ends {issuer.ends_at:%Y-%m-%d %H:%M} UTC"
    above = signer.in_force if signer else None
    if above and issuer.signer_key_id != above.key_id:
        return f"{wanted.signer} in force has not signed it"
    return ""


def _unlimited(wanted: WantedAuthority, state: EngineState, signer: EngineState | None) -> str:
    """What of the mounts' limits is shorter than what is declared; empty where all of it fits."""
    if not wanted.is_root and signer is None:
        return f"there is no PKI engine of {wanted.signer}, which signs it"
    limits = {f"the certificate of {wanted.name}": (wanted.ttl, signer or state)}
    limits |= {what: (life, state) for what, life in wanted.lives.items()}
    for what, (life, engine) in limits.items():
        if life > engine.longest:
            return f"{what} is to last {life.days} d, and max_lease_ttl of the mount is {engine.longest.days} d"
    return ""


class PkiEngine(Protocol):
    """The content of a PKI engine of the hub. Errors are named by its paths there."""

    mount: str

    def look(self, paths: Sequence[str]) -> EngineState | None:
        """What is there; of its configuration, what is at these paths below the mount. None where nothing is mounted.

        Raises Invalid where something else is.
        """

    def published(self) -> PublishedIssuers:
        """What anybody is told without a login: the issuers by the names that they bear. Raises Denied also where
        nothing is mounted.
        """

    def configure(self, path: str, settings: Mapping[str, Any]) -> None:
        """Write settings at a path below the mount."""

    def make_root(self, name: str, wanted: WantedAuthority) -> Issuer:
        """A new key of this name, which never leaves the hub, and its own certificate. Raises Invalid."""

    def request(self, name: str, wanted: WantedAuthority) -> str:
        """A new key of this name, which never leaves the hub, and a signing request for it, PEM. Raises Invalid."""

    def sign(self, request: str, wanted: WantedAuthority) -> Sequence[str]:
        """The certificate of an authority below, by the issuer in force, and those above it, PEM. Raises Invalid."""

    def install(self, name: str, certificates: Sequence[str]) -> None:
        """Keep a certificate for the key of this name that was made here, and those above it. What is there stays."""

    def promote(self, issuer: Issuer) -> None:
        """Let it sign from now on. Others stay as they are."""
