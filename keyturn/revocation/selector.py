"""The secrets that a revocation covers, and the owners of fingerprints and values."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final

from keyturn.catalogue import Catalogue, Secret
from keyturn.catalogue.spreading import all_places, plain_places
from keyturn.core.errors import Invalid, NotFound, TerminalError
from keyturn.core.fingerprint import Fingerprint, is_noted, under_every_key
from keyturn.core.ports.hub import HubSecret
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.core.text.path_patterns import covers
from keyturn.core.text.suggest import advice
from keyturn.revocation.left_out import missed_by, unseen_secrets
from keyturn.revocation.readable_versions import describe_unreadable, read_versions, remembered_versions
from keyturn.rotation.copies.push import text_of
from keyturn.rotation.state.context import Workspace, side_by_side
from keyturn.rotation.state.record_store import load_record
from keyturn.strategies.vault_dynamic import VaultDynamicSettings

LEAST_DIGITS: Final = 8
"""Digits of a fingerprint that a search needs; people see 12."""

WHOLE: Final = 64

AT_ONCE: Final = 16

NEAR: Final = 8
"""Earlier versions that a copy may have given too, abandoned ones included."""


@dataclass(frozen=True)
class Selector:
    """Criteria that must all match; ``paths`` are secrets, or patterns such as ``ml-training/*``."""

    paths: tuple[str, ...] = ()
    owner: str = ""
    classification: str = ""
    target: str = ""
    store: str = ""
    lease_prefix: str = ""
    fingerprint: str = ""

    @property
    def words(self) -> str:
        """Text for people."""
        parts = [", ".join(self.paths)] if self.paths else []
        others = ("owner", "classification", "target", "store", "lease_prefix", "fingerprint")
        parts += [f"{name.replace('_', ' ')} {value}" for name in others if (value := getattr(self, name))]
        return "; ".join(parts)


@dataclass(frozen=True)
class Selection:
    """The matching secrets, in order, and leases; ``missed`` secrets may match, and did not load.

    ``sweeping`` means that a pattern matches everything.
    """

    paths: tuple[str, ...]
    leases: tuple[str, ...] = ()
    sweeping: bool = False
    missed: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """The number of secrets, and of leases chosen by their prefix."""
        return len(self.paths) + len(self.leases)


@dataclass(frozen=True)
class Match:
    """A place that holds or held a value; ``place`` is ``store:name``, or empty for the hub.

    ``unseen`` is why a version, or for 0 the secret, could not be read; it may hold the value.
    """

    path: str
    version: int
    place: str = ""
    unseen: str = ""


def select_secrets(workspace: Workspace, selector: Selector) -> Selection:
    """The matching secrets and leases. Raises Invalid for an empty selector, NotFound for no match."""
    if selector == Selector():
        hint = (
            "Name a secret, a pattern, an owner, a classification, a target, a store, a lease prefix or a fingerprint"
        )
        raise Invalid("revoke", "nothing", "nothing is chosen", hint)
    leases = tuple(workspace.hub.leases(selector.lease_prefix)) if selector.lease_prefix else ()
    paths = tuple(sorted(_fitting(workspace, selector, leases)))
    missed = missed_by(workspace.catalogue, selector.paths)
    if not paths and not leases:
        hint = "See `keyturn status` for the secrets of the catalogue"
        raise NotFound("revoke", selector.words, "no secret of the catalogue fits", hint)
    return Selection(paths, leases, any(map(fits_everything, selector.paths)), missed)


def fits_everything(pattern: str) -> bool:
    """Whether a pattern matches everything: ``**``, ``**/*``."""
    return "**" in pattern.split("/") and not pattern.strip("*/")


def _fitting(workspace: Workspace, selector: Selector, leases: Sequence[str]) -> set[str]:
    paths = chosen_paths(workspace.catalogue, selector)
    if selector.lease_prefix:
        paths = {path for path in paths if _has_one_of(workspace, path, leases)}
    if selector.fingerprint:
        paths &= {match.path for match in whois(workspace, selector.fingerprint, every=True) if not match.unseen}
    return paths


def chosen_paths(catalogue: Catalogue, selector: Selector) -> set[str]:
    """The secrets that match by the catalogue. Raises NotFound for an unmatched name."""
    paths = _by_name(catalogue, selector.paths) if selector.paths else set(catalogue.secrets)
    for name in ("owner", "classification", "target", "store"):
        if wanted := getattr(selector, name):
            paths = {path for path in paths if wanted in _catalogue_values(catalogue.secret(path), name)}
    return paths


def _by_name(catalogue: Catalogue, names: Sequence[str]) -> set[str]:
    """The secrets that match these names and patterns. Raises NotFound for an unmatched one.

    Among several, an unloaded one is skipped.
    """
    declared, paths = catalogue.secrets, set[str]()
    hidden = unseen_secrets(catalogue) if len(names) > 1 else {}
    for name in names:
        if name in hidden:
            continue
        fitting = {path for path in declared if covers(name, path)} if "*" in name else {catalogue.secret(name).path}
        if not fitting:
            hint = advice(name, declared, "See the catalogue.")
            raise NotFound("revoke", name, "no secret of the catalogue fits it", hint)
        paths |= fitting
    return paths


def _catalogue_values(secret: Secret, name: str) -> tuple[str, ...]:
    """The catalogue's values of a secret for one criterion."""
    match name:
        case "owner":
            return (secret.owner,)
        case "classification":
            return (str(secret.classification),)
        case "target":
            return (getattr(secret.rotation, "target", ""),)
        case _:
            return tuple(name for place in secret.destinations for name in (place.store, place.group))


def _has_one_of(workspace: Workspace, path: str, leases: Sequence[str]) -> bool:
    """Whether the secret's versions hold one of these leases; its role decides for unreadable ones."""
    held = {
        version.fields["lease_id"].reveal()
        for version in readable_versions(workspace, path)
        if "lease_id" in version.fields
    }
    if held & set(leases):
        return True
    rotation = workspace.secret(path).rotation
    if not isinstance(rotation, VaultDynamicSettings) or not describe_unreadable(workspace.hub.describe(path)):
        return False
    return any(lease.startswith(f"{place}/") for place in rotation.lease_places for lease in leases)


def readable_versions(workspace: Workspace, path: str) -> Iterator[HubSecret]:
    """Yield every version that the hub still gives, newest first, reading each when requested."""
    info = workspace.hub.describe(path)
    for version in reversed(info.versions if info else ()):
        if version.readable and (secret := workspace.hub.read(path, version.version)):
            yield secret


def whois(workspace: Workspace, fingerprint: str, *, every: bool = False) -> list[Match]:
    """Every version and copy whose fingerprint begins with this one.

    Raises Invalid for too few digits. A denied secret raises with ``every``, and is unseen without.
    """
    wanted = fingerprint.strip().lower()
    digits, _, generation = wanted.partition("-")
    whole = not generation or (len(digits) == WHOLE and generation.isdecimal())
    if not LEAST_DIGITS <= len(digits) <= WHOLE or set(digits) - set("0123456789abcdef") or not whole:
        problem = f"a fingerprint is {LEAST_DIGITS} to {WHOLE} hexadecimal digits"
        raise Invalid("look for", "the fingerprint", problem, "Take the digits that `keyturn status` or a report shows")

    def fits(made: str) -> bool:
        return any(digest.startswith(wanted) for digest in under_every_key(made))

    return _search(workspace, lambda path: _matches(workspace, path, fits), every)


def whois_value(workspace: Workspace, value: Sensitive) -> list[Match]:
    """Every version and copy that holds this text: whole, as a copy, or in a field."""

    def look(path: str) -> Iterator[Match]:
        digests = _digests(workspace, path, value)
        return _matches(workspace, path, lambda made: is_noted(digests, made), by_field=True)

    return _search(workspace, look)


def _digests(workspace: Workspace, path: str, value: Sensitive) -> set[str]:
    """The fingerprints of a text at one path, as it is and as a JSON object."""
    digests = {*under_every_key(workspace.fingerprint_of(path, value))}
    with suppress(ValueError, RecursionError):
        if isinstance(document := json.loads(value.reveal()), dict):
            digests |= under_every_key(workspace.fingerprint(path, SecretFields(document)))
    return digests


def _search(workspace: Workspace, look: Callable[[str], Iterator[Match]], every: bool = False) -> list[Match]:
    def one(path: str) -> list[Match]:
        try:
            return list(dict.fromkeys(look(path)))
        except TerminalError as error:
            if every:
                raise
            return [Match(path, 0, unseen=error.problem)]

    hidden = [Match(name, 0, unseen=why) for name, why in unseen_secrets(workspace.catalogue).items()]
    matches = side_by_side(one, sorted(workspace.catalogue.secrets), AT_ONCE)
    return [*(match for some in matches for match in some), *hidden]


def _matches(
    workspace: Workspace, path: str, wanted: Callable[[str], bool], *, by_field: bool = False
) -> Iterator[Match]:
    """The versions and copies of one secret whose fingerprint is ``wanted``."""
    sight = read_versions(workspace, path)
    yield from (Match(path, hidden.version, unseen=hidden.why) for hidden in sight.unseen if not hidden.destroyed)
    for old in remembered_versions(load_record(workspace, path), sight.unseen):
        if wanted(old.fingerprints[""]):
            yield Match(path, old.version)
    for version in sight.versions:
        for place, digest in version_fingerprints(workspace, version).items():
            if wanted(digest):
                yield Match(path, version.version, place)
        for place, digest in digests_beside(workspace, version, sight.versions):
            if wanted(digest):
                yield Match(path, version.version, place)
        if by_field and any(wanted(workspace.fingerprint_of(path, text)) for text in version.fields.values()):
            yield Match(path, version.version)


def digests_beside(
    workspace: Workspace, secret: HubSecret, older: Iterable[HubSecret]
) -> Iterator[tuple[str, Fingerprint]]:
    """The fingerprints, by ``store:name``, of copies that gave this version with an older one."""
    places = [place for place in plain_places(workspace.catalogue, secret.path) if place.shape.tells_previous]
    near = islice((version for version in older if version.version < secret.version), NEAR) if places else ()
    for previous in near:
        for place in places:
            with suppress(Invalid):
                yield (
                    place.label,
                    workspace.fingerprint_of(secret.path, text_of(replace(secret, previous=previous), place)),
                )


def version_fingerprints(workspace: Workspace, secret: HubSecret) -> dict[str, Fingerprint]:
    """The fingerprint of a version under the empty name, and its copies' under ``store:name``."""
    made = {"": workspace.fingerprint(secret.path, secret.fields)}
    for place in all_places(workspace.catalogue, secret.path, secret.fields):
        # A copy that can't be made of this version never existed.
        with suppress(Invalid):
            made[place.label] = workspace.fingerprint_of(secret.path, text_of(secret, place))
    return made
