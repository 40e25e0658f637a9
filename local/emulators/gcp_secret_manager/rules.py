"""The rules for what a secret may carry.

Sources: the comments of google/cloud/secretmanager/v1/resources.proto (labels, annotations, aliases, replication);
"Enable customer-managed encryption keys for regional secrets" (the key is of the secret's own location); the answer
"Secret.replication should not be provided." as users of external-secrets quote it;
"Set up an expiry for a secret" (60 seconds to 100 years); "Delay destruction of secret versions" (1 to 1,000 days).
"""

import re
import time
import unicodedata
from collections.abc import Mapping
from typing import Final

from local.emulators.gcp_secret_manager.errors import invalid, unimplemented
from local.emulators.gcp_secret_manager.messages import Pb, seconds_of, stamp

MAX_PAYLOAD: Final = 65_536
_MAX_LABELS: Final = 64
_MAX_ANNOTATION_BYTES: Final = 16 * 1024
_MAX_ALIASES: Final = 50
_MIN_TTL: Final = 60
_MAX_TTL: Final = 3_153_600_000
_DAY: Final = 86_400

_ANNOTATION_KEY: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
_ALIAS: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,62}")
_KMS_KEY: Final = re.compile(r"projects/[^/]+/locations/([^/]+)/keyRings/[^/]+/cryptoKeys/[^/]+")
_RESERVED_ALIASES: Final = frozenset({"latest", "NEW"})


def check_labels(labels: Mapping[str, str]) -> None:
    """At most 64 labels; lowercase or caseless letters, numbers, hyphens and underscores, 63 characters."""
    if len(labels) > _MAX_LABELS:
        invalid(f"A secret can have at most {_MAX_LABELS} labels, this has {len(labels)}.")
    for key, value in labels.items():
        if not key or not _caseless(key[0], ("Ll", "Lo")) or not _is_label_text(key):
            invalid(f"Invalid label key [{key}]: it starts with a lowercase letter, 63 characters at most.")
        if not _is_label_text(value):
            invalid(f"Invalid value of label [{key}]: lowercase letters, numbers, _ and -, 63 characters at most.")


def _is_label_text(text: str) -> bool:
    allowed = ("Ll", "Lo", "Nd", "Nl", "No")
    return len(text) <= 63 and len(text.encode()) <= 128 and all(c in "_-" or _caseless(c, allowed) for c in text)


def _caseless(character: str, categories: tuple[str, ...]) -> bool:
    return unicodedata.category(character) in categories


def check_annotations(annotations: Mapping[str, str]) -> None:
    """Keys of 1 to 63 characters, and less than 16 KiB over all keys and values."""
    for key in annotations:
        if not _ANNOTATION_KEY.fullmatch(key):
            invalid(f"Invalid annotation key [{key}]: 1 to 63 letters, digits, dashes, underscores and dots.")
    size = sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items())
    if size >= _MAX_ANNOTATION_BYTES:
        invalid(f"Annotations must be smaller than 16 KiB together, these have {size} bytes.")


def check_aliases(aliases: Mapping[str, int], newest: int) -> None:
    """At most 50 aliases, each of a version that exists."""
    if len(aliases) > _MAX_ALIASES:
        invalid(f"A secret can have at most {_MAX_ALIASES} version aliases, this has {len(aliases)}.")
    for alias, number in aliases.items():
        if not _ALIAS.fullmatch(alias) or alias in _RESERVED_ALIASES:
            invalid(f"Invalid version alias [{alias}].")
        if not 1 <= number <= newest:
            invalid(f"Version alias [{alias}] names version {number}, which does not exist.")


def check_place(secret: Pb, location: str) -> None:
    """A global secret says where it is replicated to; a regional one never, and its key is of the same location."""
    if not location:
        check_replication(secret.replication)
        if secret.HasField("customer_managed_encryption"):
            unimplemented("secret.customer_managed_encryption of a global secret")
        return
    if secret.HasField("replication"):
        invalid("Secret.replication should not be provided.")
    if secret.HasField("customer_managed_encryption"):
        key = _KMS_KEY.fullmatch(secret.customer_managed_encryption.kms_key_name)
        if key is None or key[1] != location:
            invalid(f"Field [secret.customer_managed_encryption] needs a key in the secret's location {location}.")


def check_replication(replication: Pb) -> None:
    """Automatic, or user-managed with at least one location, each named once."""
    policy = replication.WhichOneof("replication")
    if policy is None:
        invalid("Field [secret.replication] is required.")
    if policy == "automatic":
        return
    locations = [replica.location for replica in replication.user_managed.replicas]
    if not locations or not all(locations) or len(set(locations)) != len(locations):
        invalid("Field [secret.replication.user_managed.replicas] needs at least one location, each named once.")


def settle_expiration(secret: Pb) -> None:
    """Turn a TTL into the expire time that is given on output, and check how far away it lies."""
    kind = secret.WhichOneof("expiration")
    if kind is None:
        return
    if kind == "ttl":
        secret.expire_time.CopyFrom(stamp(time.time() + seconds_of(secret.ttl)))
    # A TTL of exactly the minimum has lost some microseconds by now.
    if not _MIN_TTL - 1 <= seconds_of(secret.expire_time) - time.time() <= _MAX_TTL:
        invalid("A secret must expire at least 60 seconds and at most 100 years from now.")


def check_destroy_delay(secret: Pb) -> None:
    """A delayed destruction waits 1 to 1,000 days."""
    if secret.HasField("version_destroy_ttl") and not _DAY <= secret.version_destroy_ttl.seconds <= 1000 * _DAY:
        invalid("Field [secret.version_destroy_ttl] must be 1 to 1,000 days.")


def check_supported(secret: Pb) -> None:
    """Refuse what the emulator would only pretend to do."""
    if secret.HasField("rotation"):
        unimplemented("secret.rotation")
    for field in ("topics", "tags", "secret_type"):
        if getattr(secret, field):
            unimplemented(f"secret.{field}")
