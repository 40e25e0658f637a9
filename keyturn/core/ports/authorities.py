"""Certificate authorities: actual and declared state of the hub's PKI engines, and the steps between.

The issuer in force stays when a new one is added, and still signs its revocation list: its certificates remain valid. A
new intermediate is in force immediately, since servers send it along. A new root must first be distributed.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final, Protocol

from keyturn.core.ports.keys import key_parameters

GENERATION: Final = re.compile(r"keyturn-([1-9][0-9]{0,8})")
"""Names of keys created by Keyturn; an issuer has its key's name."""
ANY_KEY: Final = "any"
"""A role's key type that allows every type."""
LATE: Final = timedelta(days=2)
"""How long a due step may wait for a daily run before it is late."""


@dataclass(frozen=True)
class Issuer:
    """An issuer certificate, and its key's name.

    ``key_id`` and ``signer_key_id`` are RFC 5280 key identifiers in hex.
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
    """Whether it is revoked in its engine, if checked."""

    @property
    def generation(self) -> int:
        """The number in its key's name; 0 if Keyturn did not create it."""
        return generation_of(self.key_name)


def generation_of(key_name: str) -> int:
    """The number in a key's name; 0 if Keyturn did not create it."""
    made = GENERATION.fullmatch(key_name)
    return int(made[1]) if made else 0


@dataclass(frozen=True)
class PublishedIssuers:
    """A PKI engine's public state: ``issuers`` with a key there, ``default`` the signing one's id."""

    issuers: tuple[Issuer, ...]
    default: str

    @property
    def in_force(self) -> Issuer | None:
        """The default issuer; None if there is none."""
        return next((issuer for issuer in self.issuers if issuer.id == self.default), None)

    @property
    def newest(self) -> Issuer | None:
        """The issuer that Keyturn created last."""
        made = [issuer for issuer in self.issuers if issuer.generation]
        return max(made, key=lambda issuer: issuer.generation, default=None)


@dataclass(frozen=True)
class EngineState(PublishedIssuers):
    """A PKI engine's complete state. ``longest`` is the mount's maximum TTL.

    ``configured`` has settings by path below the mount, such as ``config/urls`` and ``roles/ml-services``.
    ``key_types`` are those supported, None if unknown.
    """

    key_names: tuple[str, ...]
    longest: timedelta
    configured: Mapping[str, Mapping[str, Any]]
    key_types: frozenset[str] | None = None

    @property
    def next_name(self) -> str:
        """The next key's name. Of two concurrent creators only one gets it."""
        names = (*self.key_names, *(issuer.key_name for issuer in self.issuers))
        return f"keyturn-{max(map(generation_of, names), default=0) + 1}"

    def lacks(self, key_type: str) -> str:
        """Return why it can't create or sign such keys; empty if it can or is unknown."""
        if self.key_types is None or key_type in {*self.key_types, ANY_KEY}:
            return ""
        return f"the hub's engine has no {key_type} keys, but {', '.join(sorted(self.key_types))}"


@dataclass(frozen=True)
class WantedAuthority:
    """The declaration of one authority. ``signer`` is its parent, empty for a root.

    ``renew_at`` is the remaining life at which a successor is created, ``introduce`` how long a new root waits,
    ``below`` the levels below. ``configured`` is as in :class:`EngineState`. ``lives`` are maximum TTLs of what it
    signs.
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
    """The kind of a step, or of an obstacle."""

    CONFIGURE = "configure"
    MAKE = "new issuer"
    PROMOTE = "put in force"
    WAIT = "waits"
    BLOCKED = "blocked"


SECONDS: Final = {"h": 3600, "m": 60, "s": 1}
PART: Final = re.compile(r"([0-9]+)([hms])")
DURATION: Final = re.compile(r"([0-9]+[hms])+")
"""Go's duration format."""


@dataclass(frozen=True)
class PkiStep:
    """One difference between declaration and hub; ``place`` is a hub path."""

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
    """The ordered steps from actual to declared state.

    ``state`` is None if nothing is mounted; ``signer`` is None for a root or an unmounted signer. A person has to fix
    what is blocked.
    """
    if state is None:
        why = f"there is no PKI engine at {wanted.mount}: `keyturn setup hub --apply` mounts one"
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
    """A duration in seconds, since the hub reports 72h or 259200s; other values unchanged."""
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
    """How and why ``issuer``, or a new one, follows the issuer in force.

    ``at`` is the start, None if unknown.
    """

    kind: StepKind
    why: str
    at: datetime | None
    issuer: Issuer | None = None

    def late(self, wanted: WantedAuthority, now: datetime) -> bool:
        """Whether it is overdue by more than daily runs explain."""
        return self.at is not None and self.at <= now - min(LATE, wanted.renew_at / 2)


def succeed(
    wanted: WantedAuthority, state: PublishedIssuers, signer: PublishedIssuers | None, now: datetime
) -> Succession | None:
    """The next step for an authority's issuers; None if none is needed."""
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
    """Return when its expiry makes a successor due."""
    return issuer.ends_at - wanted.renew_at


def unfit(wanted: WantedAuthority, issuer: Issuer, signer: PublishedIssuers | None, now: datetime) -> str:
    """Return why an issuer needs a successor; empty if it does not."""
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
    """Return which declared TTL exceeds a mount's limit; empty if all fit."""
    if not wanted.is_root and signer is None:
        return f"there is no PKI engine of {wanted.signer}, which signs it"
    limits = {f"the certificate of {wanted.name}": (wanted.ttl, signer or state)}
    limits |= {what: (life, state) for what, life in wanted.lives.items()}
    for what, (life, engine) in limits.items():
        if life > engine.longest:
            return f"{what} is to last {life.days} d, and max_lease_ttl of the mount is {engine.longest.days} d"
    return ""


class PkiEngine(Protocol):
    """The content of a PKI engine. Errors are named by its hub paths."""

    mount: str

    def look(self, paths: Sequence[str]) -> EngineState | None:
        """The state, with configuration at these paths; None if nothing is mounted.

        Raises Invalid if something else is.
        """

    def published(self) -> PublishedIssuers:
        """The public issuers, without a login. Raises Denied, also if nothing is mounted."""

    def configure(self, path: str, settings: Mapping[str, Any]) -> None:
        """Write settings at a path below the mount."""

    def make_root(self, name: str, wanted: WantedAuthority) -> Issuer:
        """Create a key, which never leaves the hub, and a self-signed certificate. Raises Invalid."""

    def request(self, name: str, wanted: WantedAuthority) -> str:
        """Create a key, which never leaves the hub, and a signing request in PEM. Raises Invalid."""

    def sign(self, request: str, wanted: WantedAuthority) -> Sequence[str]:
        """Sign a subordinate authority; its certificate and chain in PEM. Raises Invalid."""

    def install(self, name: str, certificates: Sequence[str]) -> None:
        """Store a certificate and chain for this key. Existing issuers stay."""

    def promote(self, issuer: Issuer) -> None:
        """Make it the default issuer. Other issuers stay."""
