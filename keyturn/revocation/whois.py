"""Find the versions and copies that hold a value, by the value or its fingerprint."""

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from keyturn.core.errors import Invalid, LoginRefused, TerminalError
from keyturn.core.fingerprint import is_noted, under_every_key
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.revocation.copy_fingerprints import digests_beside, version_fingerprints
from keyturn.revocation.left_out import unseen_secrets
from keyturn.revocation.readable_versions import read_versions, remembered_versions
from keyturn.rotation.state.context import Workspace, side_by_side
from keyturn.rotation.state.record_store import load_record

LEAST_DIGITS: Final = 8
"""Digits of a fingerprint that a search needs; people see 12."""

WHOLE: Final = 64

AT_ONCE: Final = 16


@dataclass(frozen=True)
class Match:
    """A place that holds or held a value; ``place`` is ``store:name``, or empty for the hub.

    ``unseen`` is why a version, or for 0 the secret, could not be read; it may hold the value.
    """

    path: str
    version: int
    place: str = ""
    unseen: str = ""


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
        except LoginRefused:
            raise
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
