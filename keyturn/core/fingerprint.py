"""Keyed fingerprints: what is compared, stored in tags and shown instead of a value."""

import hashlib
import hmac
import json

from keyturn.core.sensitive import SecretFields, Sensitive

SHOWN = 12
"""Hex digits shown to people: 48 bits tell the versions of a secret apart and give nothing away."""


def payload(fields: SecretFields) -> Sensitive:
    """A secret as the stores hold it: one JSON object, keys sorted, UTF-8, no spaces."""
    return Sensitive(json.dumps(fields.reveal(), sort_keys=True, ensure_ascii=False, separators=(",", ":")))


def fingerprint(key: Sensitive, value: Sensitive) -> str:
    """HMAC-SHA256 of ``value`` under ``key``, 64 hex digits (RFC 2104).

    A plain hash of a short secret could be guessed; the key lives in the hub.
    """
    return hmac.new(key.reveal().encode(), value.reveal().encode(), hashlib.sha256).hexdigest()


def shown(digest: str) -> str:
    """The part of a fingerprint that people see."""
    return digest[:SHOWN]
