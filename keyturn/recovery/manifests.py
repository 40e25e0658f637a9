"""The manifest of a backup: a clear line with the wrapped keys, and a sealed, signed rest."""

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
"""Maximum bytes of the clear line."""
SIGNED: Final = b"keyturn-backup-manifest-1\n"
"""The prefix of the signed bytes, so that the signature is valid for nothing else."""
SUFFIX: Final = ".manifest"

VerifySignature = Callable[[bytes, bytes, bytes], bool]
"""Whether an Ed25519 signature is valid for a 32-byte key and a message."""


@dataclass(frozen=True)
class SignatureCheck:
    """The required signer: the 32-byte ``public_key``; empty accepts any signature or none."""

    verify: VerifySignature
    public_key: bytes = b""


@dataclass(frozen=True)
class SealedManifest:
    """The clear part: which backup it is, and what opens it."""

    chain: str
    sequence: int
    attempt: str
    header: Mapping[str, Any]
    line: bytes
    sealed: bytes


def manifest_name(chain: str, sequence: int) -> str:
    """The object's name, the same for two writers of one manifest, so only the first succeeds."""
    return f"{chain}/{sequence:08d}{SUFFIX}"


def digest_of_object(content: bytes) -> str:
    """The stored object's SHA-256, in hex."""
    return hashlib.sha256(content).hexdigest()


def context_of(chain: str) -> dict[str, str]:
    """The context of a chain's content key. The wrapping service may log it."""
    return {"keyturn-purpose": "backup", "keyturn-chain": chain}


def label_of(chain: str, sequence: int, attempt: str, what: str) -> str:
    """The label under which a piece is sealed. ``what`` is unique in the backup."""
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
    """The clear part. Raises SealRefused for a malformed manifest or one under another name."""
    line = content[: content.find(b"\n", 0, LONGEST_LINE) + 1]
    try:
        clear: Any = json.loads(line.removeprefix(BACKUP_MAGIC)) if line.startswith(BACKUP_MAGIC) else None
        sealed = SealedManifest(
            str(clear["chain"]), int(clear["sequence"]), str(clear["attempt"]), clear, line, content[len(line) :]
        )
    except (ValueError, TypeError, LookupError, RecursionError):
        raise SealRefused(Refusal.MALFORMED, name, "it was cut short, or is no manifest of a backup") from None
    if not CHAIN.fullmatch(sealed.chain) or manifest_name(sealed.chain, sealed.sequence) != name:
        raise SealRefused(Refusal.FOREIGN, name, "it is another backup's manifest, put here by hand")
    return sealed


def open_seal(sealed: SealedManifest, keys: BackupKeys) -> BackupSeal:
    """The content key of its chain. Raises SealRefused, and what unwrapping raises."""
    return keys.open(sealed.header, context_of(sealed.chain))


def open_manifest(name: str, sealed: SealedManifest, seal: BackupSeal, check: SignatureCheck) -> Manifest:
    """The content, after checking seal and signature. Raises SealRefused."""
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
            hint = "Someone with the wrapping key made it, or the signing key was replaced: see public_key"
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
