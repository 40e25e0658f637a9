"""Cosignatures: a witness saw a checkpoint continue all that it saw of the ledger before.

Source: C2SP's tlog-cosignature, in the Ed25519 form ``cosignature/v1``.
"""

import base64
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import ClassVar, Final

from keyturn.core.errors import Rewritten
from keyturn.core.ports.ledger import Signer
from keyturn.ledger.signed_notes import PublicKey, Verify, signatures_of, unverified_text

HEADER: Final = "cosignature/v1\n"
TIME_SIZE: Final = 8
SKEW: Final = timedelta(minutes=5)
"""The tolerated lead of a witness's clock over the verifier's."""
LATEST: Final = 253_402_300_799
"""The last second that a date can represent, since 1970."""


@dataclass(frozen=True)
class WitnessKey(PublicKey):
    """A witness's name and key, written ``name+hash+base64``."""

    TYPE: ClassVar[bytes] = b"\x04"
    OTHER: ClassVar[str] = "it is not whole, or not one of a witness"


@dataclass(frozen=True)
class Cosignature:
    """A witness's statement that it had seen nothing later of the ledger, by its clock."""

    witness: WitnessKey
    time: datetime
    line: str


def cosign(note: str, key: WitnessKey, signer: Signer, at: datetime) -> str:
    """The witness's signature line for a checkpoint's note."""
    seconds = int(at.timestamp())
    signature = seconds.to_bytes(TIME_SIZE, "big") + signer.sign(_message(unverified_text(note), seconds))
    return _line(key, signature)


def valid_cosignatures(note: str, keys: Collection[WitnessKey], verify: Verify, now: datetime) -> list[Cosignature]:
    """The newest valid cosignature of each of these witnesses. Future ones are invalid."""
    newest: dict[bytes, Cosignature] = {}
    text, signatures = unverified_text(note), signatures_of(note)
    for key in keys:
        for name, key_id, signature in signatures:
            if (name, key_id) == (key.name, key.key_id) and (at := _time_of(text, key, signature, verify, now)):
                cosignature = Cosignature(key, at, _line(key, signature))
                if key.key not in newest or newest[key.key].time < at:
                    newest[key.key] = cosignature
    return list(newest.values())


def add_cosignatures(
    note: str, lines: Iterable[str], keys: Collection[WitnessKey], verify: Verify, now: datetime
) -> str:
    """The note with the valid ``lines``, one of each of these witnesses."""
    added = (line for line in lines if line.endswith("\n") and "\n\n" not in line)
    return note + "".join(
        cosignature.line for line in added for cosignature in _readable(note + line, keys, verify, now, line)
    )


def _readable(note: str, keys: Collection[WitnessKey], verify: Verify, now: datetime, line: str) -> list[Cosignature]:
    """The valid cosignatures in a witness's answer; empty where it is malformed."""
    try:
        return [cosignature for cosignature in valid_cosignatures(note, keys, verify, now) if cosignature.line in line]
    except Rewritten:
        return []


def _time_of(text: str, key: WitnessKey, signature: bytes, verify: Verify, now: datetime) -> datetime | None:
    """When a signature was made; None where it is invalid."""
    seconds = int.from_bytes(signature[:TIME_SIZE], "big")
    if seconds > LATEST or not verify(key.key, _message(text, seconds), signature[TIME_SIZE:]):
        return None
    at = datetime.fromtimestamp(seconds, UTC)
    return at if at <= now + SKEW else None


def _message(text: str, seconds: int) -> bytes:
    return f"{HEADER}time {seconds}\n{text}".encode()


def _line(key: WitnessKey, signature: bytes) -> str:
    return f"— {key.name} {base64.b64encode(key.key_id + signature).decode()}\n"
