"""The OAuth token endpoint: a JWT that a key has signed, for an access token.

Source: "Using OAuth 2.0 for Server to Server Applications", and for keys that a JWT does not name, or names
wrongly, "Service account credentials": every key of the account is tried.
"""

import secrets
import time
from typing import Any, Final
from urllib.parse import parse_qs

import jwt

from local.emulators.gcp_iam.certificates import public_key
from local.emulators.gcp_iam.key_calls import USER
from local.emulators.gcp_iam.messages import Answer, Request
from local.emulators.gcp_iam.state import Account, Key, State

GRANT: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
GOOGLES_ADDRESS: Final = "https://oauth2.googleapis.com/token"
LONGEST: Final = 3_600
LEEWAY: Final = 300
"""Seconds: how long a JWT may last, and how far the caller's clock may be off."""


def answer(state: State, request: Request, settle: float) -> Answer:
    """POST /token. A key signs in from ``settle`` seconds after it was made."""
    form = {name: values[0] for name, values in parse_qs(request.body.decode(errors="replace")).items()}
    if form.get("grant_type") != GRANT:
        return _refused("unsupported_grant_type", "Invalid grant_type")
    assertion = form.get("assertion", "")
    claims = _claims(assertion, f"{request.base}/token")
    if claims is None:
        message = "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe."
        return _refused("invalid_grant", message)
    account = state.account(str(claims.get("iss", "")))
    if account is None:
        return _refused("invalid_grant", "Invalid grant: account not found")
    return _exchanged(state, account, assertion, settle)


def _exchanged(state: State, account: Account, assertion: str, settle: float) -> Answer:
    now = time.time()
    for key in state.keys(account.email):
        if not _usable(key, now, settle) or not _signed(key, assertion):
            continue
        if account.disabled:
            return _refused("invalid_grant", "Robot is disabled.")
        state.use(key, now)
        token = {"access_token": f"ya29.{secrets.token_urlsafe(48)}", "expires_in": LONGEST - 1, "token_type": "Bearer"}
        return Answer(token)
    return _refused("invalid_grant", "Invalid JWT Signature.")


def _usable(key: Key, now: float, settle: float) -> bool:
    in_time = now >= key.created + settle and (key.ends is None or now < key.ends)
    return in_time and not key.disabled and key.managed == USER


def _signed(key: Key, assertion: str) -> bool:
    try:
        jwt.decode(assertion, public_key(key.certificate), ["RS256"], options={"verify_aud": False})
    except jwt.InvalidTokenError:
        return False
    return True


def _claims(assertion: str, address: str) -> dict[str, Any] | None:
    """What the JWT claims, unsigned as yet; None where it is no JWT for this endpoint and this hour."""
    try:
        claims = jwt.decode(assertion, options={"verify_signature": False})
        begin, end = float(claims["iat"]), float(claims["exp"])
    except (jwt.InvalidTokenError, KeyError, TypeError, ValueError):
        return None
    now = time.time()
    in_time = begin - LEEWAY <= now <= end + LEEWAY and 0 <= end - begin <= LONGEST
    return claims if in_time and claims.get("aud") in (GOOGLES_ADDRESS, address) and claims.get("scope") else None


def _refused(error: str, description: str) -> Answer:
    return Answer({"error": error, "error_description": description}, 400)
