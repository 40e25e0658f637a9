"""Whose a bearer token is, for whoever asks the API server (TokenReview of authentication.k8s.io/v1).

Source: "TokenReview" of the API reference, and "Bound service account tokens": a token for other audiences than those
that are asked for, or one that has ended, is nobody's.
"""

import base64
import hmac
import json
import uuid
from collections.abc import Iterable
from typing import Any, Final

from local.emulators.kubernetes.access import Account
from local.emulators.kubernetes.messages import Refusal

Tree = dict[str, Any]

GROUP: Final = "authentication.k8s.io"
PATH: Final = ("apis", GROUP, "v1", "tokenreviews")
API_SERVER: Final = "https://kubernetes.default.svc.cluster.local"
"""Whom a token is for that says nothing else, and who is meant where nobody is asked for."""


def review(accounts: Iterable[Account], document: Tree, now: float) -> Tree:
    """The answer to a TokenReview; ``now`` is in seconds since 1970. Raises :class:`Refusal` where it asks nothing."""
    spec = document.get("spec") or {}
    if not isinstance(token := spec.get("token"), str) or not token:
        raise Refusal(422, "spec.token: Required value: tokens must be specified", kind="tokenreviews")
    wanted = spec.get("audiences") or [API_SERVER]
    return {"apiVersion": f"{GROUP}/v1", "kind": "TokenReview", "metadata": {}, "spec": spec} | {
        "status": _status(accounts, token, wanted, now)
    }


def uid_of(user: str) -> str:
    """What tells a service account from another one that had its name before: the cluster's own number for it."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, user))


def _status(accounts: Iterable[Account], token: str, wanted: list[str], now: float) -> Tree:
    account = next((one for one in accounts if hmac.compare_digest(one.token.encode(), token.encode())), None)
    if account is None:
        return {"authenticated": False, "error": "[invalid bearer token]"}
    claims = _claims(token)
    if claims.get("exp", now + 1) <= now:
        return {"authenticated": False, "error": "[invalid bearer token, service account token has expired]"}
    own = claims.get("aud") or [API_SERVER]
    audiences = [audience for audience in wanted if audience in own]
    if not audiences:
        return {"authenticated": False, "error": f"[invalid bearer token, token audiences {own} is invalid]"}
    return {"authenticated": True, "user": _user(account), "audiences": audiences}


def _user(account: Account) -> Tree:
    namespace = account.user.removeprefix("system:serviceaccount:").partition(":")[0]
    groups = ["system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated"]
    return {"username": account.user, "uid": uid_of(account.user), "groups": groups}


def _claims(token: str) -> Tree:
    """What the token says of itself; nothing where it is no JWT."""
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (IndexError, ValueError):
        return {}
    return claims if isinstance(claims, dict) else {}
