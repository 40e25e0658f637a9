"""A catalogue's signature: a signed note over its files, by keys that the operator's file names.

The note (C2SP signed-note) lists files as sha256sum does: the ``*.yaml`` files and all others in the folder, since an
entry may name one, such as a CA certificate.
"""

import base64
import hashlib
import importlib
import os
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from keyturn.catalogue.files.problems import Problem
from keyturn.catalogue.files.reading import read_file
from keyturn.catalogue.files.syntax import NotYaml
from keyturn.catalogue.operator.policy import MOMENT, OperatorsPolicy
from keyturn.core.errors import Invalid, Rewritten
from keyturn.core.ports.ledger import Signer
from keyturn.ledger.signed_notes import (
    KEY_ID_SIZE,
    NOTE_LIMIT,
    PublicKey,
    Verify,
    open_note,
    sign_note,
    unverified_text,
)

FILE: Final = "catalogue.sig"

HEAD: Final = "keyturn catalogue"
"""The first line of the signed text, which keeps signatures of anything else from counting."""

SIGN_ANEW: Final = "Look at what has changed, and have it signed: keyturn catalogue sign."

VERIFIER: Final = ("keyturn.providers.ledger.ed25519", "verify_ed25519")
"""The verifier's module and function, imported only if a signature is required."""

Digests = Mapping[str, str]
"""The SHA-256 of each file's bytes, in hex, by the file's name."""

_LINE: Final = re.compile(r"([0-9a-f]{64})  ([^\x00-\x1f\x7f]+)")
_TIME: Final = re.compile(f"time ({MOMENT})")


def digest_of(digests: Digests) -> str:
    """One digest over all names and bytes, as ``sha256sum *.yaml | sha256sum`` prints it."""
    return hashlib.sha256(_lines(digests).encode()).hexdigest()


def _lines(digests: Digests) -> str:
    return "".join(f"{digest}  {name}\n" for name, digest in sorted(digests.items()))


def with_other_files(directory: Path, digests: Digests) -> Digests:
    """Adds the digests of the other files in and below the catalogue's folder, such as CA certificates.

    Hidden files and the signature are left out. An unreadable file and a link to a folder have an empty digest.
    """
    others = (place for place in covered_files(directory) if place not in digests)
    return {**digests, **{place: _digest_of_file(directory / place) for place in others}}


def covered_files(directory: Path) -> Iterator[str]:
    """Yields the files that a signature covers, relative to the catalogue's folder."""
    for folder, folders, files in os.walk(directory):
        linked = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in (*files, *linked):
            place = os.path.relpath(os.path.join(folder, name), directory)
            if place != FILE and not name.startswith("."):
                yield place


def _digest_of_file(file: Path) -> str:
    try:
        return hashlib.sha256(read_file(file)).hexdigest()
    except (OSError, NotYaml):
        return ""


# --- signing


def add_signature(note: str, digests: Digests, name: str, signer: Signer, at: datetime) -> str:
    """The note with one more signature; a new note if ``note`` is empty or covers other files. Raises Invalid."""
    if unread := next((file for file, digest in digests.items() if not digest), None):
        raise Invalid("sign", unread, "it is no file that can be read", "Remove it, or put a regular file in its place")
    if strange := next((file for file in digests if not _LINE.fullmatch(f"{'0' * 64}  {file}")), None):
        raise Invalid("sign", repr(strange), "a file of this name can't be signed", "Name it in plain characters")
    text, signatures = _same(note, digests) or (f"{HEAD}\ntime {at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}\n", [])
    text = text if signatures else text + _lines(digests)
    made = sign_note(text, name, signer).rpartition("\n\n")[2].strip()
    lines = [line for line in signatures if _signer(line) != _signer(made)]
    whole = "\n".join([text, *lines, made, ""])
    if len(whole) > NOTE_LIMIT:
        raise Invalid("sign", f"{len(digests)} files", "they don't fit into one signature", "Merge some of them")
    return whole


def _signer(line: str) -> tuple[str, bytes]:
    _, name, encoded = line.split(" ")
    return name, base64.b64decode(encoded)[:KEY_ID_SIZE]


def _same(note: str, digests: Digests) -> tuple[str, list[str]] | None:
    """The text and the signature lines of a note over exactly these files; else None."""
    try:
        text = unverified_text(note)
    except Rewritten:
        return None
    if _signed(text) != digests:
        return None
    return text, note.rpartition("\n\n")[2].splitlines()


def _signed(text: str) -> dict[str, str] | None:
    """The digests by file in a note's text; None if it is not a catalogue's."""
    head, time, *lines = [*text.removesuffix("\n").split("\n"), ""]
    files = [_LINE.fullmatch(line) for line in lines[:-1]]
    if head != HEAD or not _TIME.fullmatch(time) or not all(files):
        return None
    return {match[2]: match[1] for match in files if match}


# --- verifying


def find_breaches(directory: Path, digests: Digests, policy: OperatorsPolicy) -> list[Problem]:
    """The reasons why the files do not count as signed; empty if the policy requires no signature."""
    if not policy.signed_by:
        return []
    file = directory / FILE
    try:
        note = read_file(file, 4 * NOTE_LIMIT).decode()
        text = unverified_text(note)
    except FileNotFoundError:
        message = "the catalogue is not signed, and the operator's file asks for a signature"
        return [Problem(str(file), 0, "", message, "Have it signed: keyturn catalogue sign.")]
    except (OSError, NotYaml, UnicodeDecodeError, Rewritten):
        return [Problem(str(file), 0, "", "this is no signature that can be read", SIGN_ANEW)]
    if unsigned := _lacking(note, policy):
        return [Problem(str(file), 0, "", unsigned, "Have an authorised person sign it: keyturn catalogue sign.")]
    if (earliest := policy.signed_after) and _time(text) < earliest:
        message = f"this was signed before {earliest}, from when on the operator's file asks for another"
        return [Problem(str(file), 0, "", message, SIGN_ANEW)]
    return list(_differences(directory, with_other_files(directory, digests), _signed(text)))


def _time(text: str) -> str:
    moment = _TIME.fullmatch(text.split("\n")[1])
    return moment[1] if moment and _signed(text) is not None else ""


def _lacking(note: str, policy: OperatorsPolicy) -> str:
    keys = {key.key: key for key in map(PublicKey.parse, policy.signed_by)}
    try:
        signers = sum(_holds(note, key, _verifier()) for key in keys.values())
    except ModuleNotFoundError as error:
        return f"the signature can't be verified here: the package {error.name} is missing (keyturn[certificates])"
    if not signers:
        return "no key that the operator's file names has signed this"
    needed = policy.signatures
    return "" if signers >= needed else f"{signers} of the operator's keys have signed this, and {needed} have to"


def _verifier() -> Verify:
    module, function = VERIFIER
    verify: Verify = getattr(importlib.import_module(module), function)
    return verify


def _holds(note: str, key: PublicKey, verify: Verify) -> bool:
    try:
        open_note(note, [key], verify)
    except Rewritten:
        return False
    return True


def _differences(directory: Path, digests: Digests, signed: Digests | None) -> Iterator[Problem]:
    if signed is None:
        yield Problem(str(directory / FILE), 0, "", "what was signed here is no catalogue", SIGN_ANEW)
        return
    for name in sorted({*digests, *signed}):
        if name not in signed:
            yield Problem(str(directory / name), 0, "", "this file is not among those that were signed", SIGN_ANEW)
        elif name not in digests:
            yield Problem(str(directory / name), 0, "", "this file was signed, and is gone", SIGN_ANEW)
        elif digests[name] != signed[name]:
            yield Problem(str(directory / name), 0, "", "this file is not what was signed", SIGN_ANEW)
