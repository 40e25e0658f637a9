"""JSON Web Tokens that Keyturn signs (RFC 7515, RFC 7519)."""

import base64
import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from keyturn.core.errors import Invalid
from keyturn.core.ports.keys import ALGORITHMS, KeyMaker
from keyturn.core.sensitive import Sensitive

EARLIER: Final = timedelta(seconds=30)
"""How long before now a token is issued, so that a server whose clock is behind accepts it."""


def signing_input(header: Mapping[str, Any], claims: Mapping[str, Any]) -> str:
    """Return what a signature covers."""
    return f"{_segment(header)}.{_segment(claims)}"


def sign_jwt(
    keys: KeyMaker,
    private_key: Sensitive,
    header: Mapping[str, Any],
    claims: Mapping[str, Any],
    now: datetime,
    lifetime: timedelta,
) -> Sensitive:
    """Return a token with these claims, ``iat`` and ``exp``; ``header`` names the algorithm.

    Raises Invalid, which quotes nothing, for a private key that can't be read or can't sign so.
    """
    kind = keys.kind(private_key)
    if header["alg"] not in ALGORITHMS[kind]:
        problem = f"a key of the kind {kind} can't sign with {header['alg']}"
        raise Invalid("sign a token with", "a private key", problem, f"Choose {' or '.join(ALGORITHMS[kind])}")
    issued = now - EARLIER
    times = {"iat": int(issued.timestamp()), "exp": int((issued + lifetime).timestamp())}
    signed = signing_input({"typ": "JWT", **header}, {**claims, **times})
    signature = keys.sign(private_key, header["alg"], signed.encode())
    return Sensitive(f"{signed}.{_encoded(signature)}")


def _segment(part: Mapping[str, Any]) -> str:
    return _encoded(json.dumps(part).encode())


def _encoded(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()
