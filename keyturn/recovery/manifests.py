"""The manifest of a backup as it lies in a place: who opens it in clear, all else sealed, and signed within that."""

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

from keyturn.core.ports.backups import CHAIN, BackupKeys, BackupSeal, LedgerPoint, Manifest, PartInfo
from keyturn.core.ports.envelope import Refusal, SealRefused
from keyturn.core.ports.ledger import Signer

BACKUP_MAGIC: Final = b"keyturn-backup-1 "
LONGEST_LINE: Final = 65_536
"""Bytes of the line in clear."""
SIGNED: Final = b"keyturn-backup-manifest-1\n"
"""Stands before what is signed, so that a signature over it is good for nothing else."""
SUFFIX: Final = ".manifest"

VerifySignature = Callable[[bytes, bytes, bytes], bool]
"""Whether, for an Ed25519 key of 32 bytes and a message, the signature holds."""


@dataclass(frozen=True)
class SignatureCheck:
    """Whose signature a manifest has to bear: that of ``public_key``, 32 bytes; anybody's or none where it is empty."""

    verify: VerifySignature
    public_key: bytes = b""


@dataclass(frozen=True)
class SealedManifest:
    """What stands in clear in it: which backup it is, and what opens it."""

    chain: str
    sequence: int
    attempt: str
    header: Mapping[str, Any]
    line: bytes
    sealed: bytes


def manifest_name(chain: str, sequence: int) -> str:
    """The object's name. It is the same for whoever writes this one, so only the first does."""
    return f"{chain}/{sequence:08d}{SUFFIX}"


def digest_of_object(content: bytes) -> str:
    """SHA-256 of an object as it lies there, hex."""
    return hashlib.sha256(content).hexdigest()


def context_of(chain: str) -> dict[str, str]:
    """What the content key of a chain is bound to; whoever wraps it may log it."""
    return {"keyturn-purpose": "backup", "keyturn-chain": chain}


def label_of(chain: str, sequence: int, attempt: str, what: str) -> str:
    """What a piece of a backup is sealed under; ``what`` tells it from the others of the same one."""
    return f"{chain}/{sequence:08d}-{attempt}/{what}"


def write_manifest(manifest: Manifest, seal: BackupSeal, signer: Signer | None) -> bytes:
    """The object. Raises what signing raises."""
    clear = {"chain": manifest.chain, "sequence": manifest.sequence, "attempt": manifest.attempt, **seal.header}
    line = BACKUP_MAGIC + json.dumps(clear, sort_keys=True).encode() + b"\n"
    text = json.dumps(_data(manifest), sort_keys=True)
    sealed = {"manifest": text}
    if signer:
        signature = signer.sign(SIGNED + text.encode())
        sealed |= {"signature": _base64(signature), "public_key": _base64(signer.public_key())}
    return line + seal.encrypt(_label(manifest.chain, manifest.sequence, manifest.attempt, line), _json(sealed))


def parse_manifest(name: str, content: bytes) -> SealedManifest:
    """What stands in clear. Raises SealRefused for what is no manifest, or another one's in this one's place."""
    line = content[: content.find(b"\n", 0, LONGEST_LINE) + 1]
    try:
        clear: Any = json.loads(line.removeprefix(BACKUP_MAGIC)) if line.startswith(BACKUP_MAGIC) else None
        sealed = SealedManifest(
            str(clear["chain"]), int(clear["sequence"]), str(clear["attempt"]), clear, line, content[len(line) :]
        )
    except (ValueError, TypeError, LookupError, RecursionError):
        raise SealRefused(Refusal.MALFORMED, name, "it was cut short, or is no manifest of a backup") from None
    if not CHAIN.fullmatch(sealed.chain) or manifest_name(sealed.chain, sealed.sequence) != name:
        raise SealRefused(Refusal.FOREIGN, name, "it is another backup's manifest, which somebody has put here")
    return sealed


def open_seal(sealed: SealedManifest, keys: BackupKeys) -> BackupSeal:
    """The content key of its chain. Raises SealRefused, and what unwrapping raises."""
    return keys.open(sealed.header, context_of(sealed.chain))


def open_manifest(name: str, sealed: SealedManifest, seal: BackupSeal, check: SignatureCheck) -> Manifest:
    """What it says, once its seal and its signature hold. Raises SealRefused."""
    try:
        opened = json.loads(
            seal.decrypt(_label(sealed.chain, sealed.sequence, sealed.attempt, sealed.line), sealed.sealed)
        )
    except SealRefused as refusal:
        raise SealRefused(refusal.refusal, name, refusal.problem) from None
    text = str(opened["manifest"])
    if check.public_key:
        key, signature = (base64.b64decode(str(opened.get(field, ""))) for field in ("public_key", "signature"))
        if key != check.public_key or not check.verify(check.public_key, SIGNED + text.encode(), signature):
            hint = "Somebody who has the wrapping key has made it, or the key that signs was replaced: see public_key"
            raise SealRefused(Refusal.FOREIGN, name, "the key that signs our backups has not signed it", hint)
    return _parsed(json.loads(text))


def _label(chain: str, sequence: int, attempt: str, line: bytes) -> str:
    return label_of(chain, sequence, attempt, f"manifest/{hashlib.sha256(line).hexdigest()}")


def _data(manifest: Manifest) -> dict[str, Any]:
    moments = {"begun_at": manifest.begun_at.isoformat(), "made_at": manifest.made_at.isoformat()}
    return {**asdict(manifest), **moments}


def _parsed(data: Mapping[str, Any]) -> Manifest:
    return Manifest(
        **{
            **data,
            "begun_at": datetime.fromisoformat(data["begun_at"]),
            "made_at": datetime.fromisoformat(data["made_at"]),
            "parts": tuple(PartInfo(**part) for part in data["parts"]),
            "ledger": LedgerPoint(**data["ledger"]),
            "missing": tuple(data["missing"]),
        }
    )


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
