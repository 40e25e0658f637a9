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

ROUNDING: Final = timedelta(minutes=1)
"""Certificates tell whole seconds, and begin half a minute in the past."""
GENERATION: Final = re.compile(r"keyturn-([1-9][0-9]{0,8})")
"""The names of the keys that are made here; an issuer has that of its key."""


class AuthorityKey(StrEnum):
    """What an authority's key is made of: as :class:`keyturn.core.keys.KeyKind`, and ML-DSA (FIPS 204), which not
    every engine has.
    """

    RSA_2048 = "rsa-2048"
    RSA_3072 = "rsa-3072"
    RSA_4096 = "rsa-4096"
    P_256 = "p-256"
    P_384 = "p-384"
    P_521 = "p-521"
    ED25519 = "ed25519"
    ML_DSA_44 = "ml-dsa-44"
    ML_DSA_65 = "ml-dsa-65"
    ML_DSA_87 = "ml-dsa-87"


def key_parameters(kind: str) -> dict[str, Any]:
    """How the engine calls a kind of key: ``key_type``, and ``key_bits``, 0 where the type says all."""
    family, _, size = kind.partition("-")
    if family in ("p", "rsa"):
        return {"key_type": {"p": "ec"}.get(family, family), "key_bits": int(size)}
    return {"key_type": kind, "key_bits": 0}


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

    @property
    def generation(self) -> int:
        """The number in the name of its key; 0 for one that was not made here."""
        return generation_of(self.key_name)


def generation_of(key_name: str) -> int:
    """The number in the name of a key; 0 for one that was not made here."""
    made = GENERATION.fullmatch(key_name)
    return int(made[1]) if made else 0


@dataclass(frozen=True)
class EngineState:
    """What a PKI engine has. ``issuers`` are those whose keys it has, ``longest`` is the mount's limit of any life.

    ``configured`` are its settings by their paths below the mount, such as ``config/urls`` and ``roles/ml-services``;
    what is absent has no entry.
    """

    issuers: tuple[Issuer, ...]
    default: str
    key_names: tuple[str, ...]
    longest: timedelta
    configured: Mapping[str, Mapping[str, Any]]

    @property
    def in_force(self) -> Issuer | None:
        """The issuer that signs by default; None where there is none."""
        return next((issuer for issuer in self.issuers if issuer.id == self.default), None)

    @property
    def newest(self) -> Issuer | None:
        """The one that was made here last."""
        made = [issuer for issuer in self.issuers if issuer.generation]
        return max(made, key=lambda issuer: issuer.generation, default=None)

    @property
    def next_name(self) -> str:
        """What the next key is called. Only one of two that make it at once gets that name."""
        names = (*self.key_names, *(issuer.key_name for issuer in self.issuers))
        return f"keyturn-{max(map(generation_of, names), default=0) + 1}"


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
        why = f"there is no PKI engine: mount one, such as by `bao secrets enable -path={wanted.mount} pki`"
        return [PkiStep(wanted.name, StepKind.BLOCKED, wanted.mount, why)]
    return [*_configuration(wanted, state), *_issuer(wanted, state, signer, now)]


def _configuration(wanted: WantedAuthority, state: EngineState) -> Iterator[PkiStep]:
    for path, settings in wanted.configured.items():
        place = f"{wanted.mount}/{path}"
        if path not in state.configured:
            yield PkiStep(wanted.name, StepKind.CONFIGURE, place, "it is absent")
        elif differing := list(_differing(settings, state.configured[path])):
            yield PkiStep(wanted.name, StepKind.CONFIGURE, place, "; ".join(differing))


def _differing(wanted: Mapping[str, Any], there: Mapping[str, Any]) -> Iterator[str]:
    for key, value in wanted.items():
        if there.get(key) != value:
            yield f"{key} is {_shown(there.get(key))}, declared is {_shown(value)}"


def _shown(value: Any) -> str:
    return ", ".join(map(str, value)) or "empty" if isinstance(value, list) else str(value)


def _issuer(
    wanted: WantedAuthority, state: EngineState, signer: EngineState | None, now: datetime
) -> Iterator[PkiStep]:
    if flaw := _unlimited(wanted, state, signer):
        yield PkiStep(wanted.name, StepKind.BLOCKED, wanted.mount, flaw)
        return
    current, newest = state.in_force, state.newest
    why = "there is none" if current is None else unfit(wanted, current, signer, now)
    if not why:
        return
    if newest is None or newest == current or unfit(wanted, newest, signer, now):
        yield PkiStep(wanted.name, StepKind.MAKE, f"{wanted.mount}/{state.next_name}", why)
        return
    place = f"{wanted.mount}/{newest.key_name}"
    in_force_at = newest.begins_at + wanted.introduce
    if not wanted.is_root or current is None or current.ends_at <= now or in_force_at <= now:
        yield PkiStep(wanted.name, StepKind.PROMOTE, place, why)
    else:
        text = f"in force from {in_force_at:%Y-%m-%d %H:%M} UTC: bring it to all who trust the root before it"
        yield PkiStep(wanted.name, StepKind.WAIT, place, text)


def unfit(wanted: WantedAuthority, issuer: Issuer, signer: EngineState | None, now: datetime) -> str:
    """Why an issuer is to be followed by another; empty where it is what the catalogue says."""
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

    def configure(self, path: str, settings: Mapping[str, Any]) -> None:
        """Write settings at a path below the mount."""

    def make_root(self, name: str, wanted: WantedAuthority) -> Issuer:
        """A new key of this name, which never leaves the hub, and its own certificate. Raises Invalid."""

    def request(self, name: str, wanted: WantedAuthority) -> str:
        """A new key of this name, which never leaves the hub, and a signing request for it, PEM. Raises Invalid."""

    def sign(self, request: str, wanted: WantedAuthority) -> Sequence[str]:
        """The certificate of an authority below, by the issuer in force, and those above it, PEM. Raises Invalid."""

    def install(self, certificates: Sequence[str]) -> None:
        """Keep a certificate for a key that was made here, and those above it. What is there stays."""

    def promote(self, issuer: Issuer) -> None:
        """Let it sign from now on. Others stay as they are."""
