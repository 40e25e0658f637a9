"""The keys of a service account. Source: "REST Resource: projects.serviceAccounts.keys"."""

import base64
import binascii
import json
import secrets
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from local.emulators.gcp_iam import certificates
from local.emulators.gcp_iam.messages import Refusal, Request, invalid, not_found
from local.emulators.gcp_iam.state import Account, Key, State

LIMIT: Final = 10
"""User-managed keys of one account. Source: "Quotas and limits" of IAM."""

SIZES: Final = {"KEY_ALG_RSA_2048": 2048, "KEY_ALG_RSA_1024": 1024}
USER: Final = "USER_MANAGED"
SYSTEM: Final = "SYSTEM_MANAGED"


def find(state: State, account: Account, key_id: str) -> Key:
    """The key of this id. Raises a refusal where it is not there."""
    for key in state.keys(account.email):
        if key.id == key_id:
            return key
    raise not_found(f"Service account key {key_id} does not exist.")


def listed(state: State, request: Request, account: Account) -> dict[str, Any]:
    """projects.serviceAccounts.keys.list: without paging, and without public keys."""
    wanted = request.query.get("keyTypes", [USER, SYSTEM])
    keys = [_shown(key, account) for key in state.keys(account.email) if key.managed in wanted]
    return {"keys": keys} if keys else {}


def get(request: Request, account: Account, key: Key) -> dict[str, Any]:
    """projects.serviceAccounts.keys.get; the public half comes where it is asked for."""
    kind = request.query.get("publicKeyType", ["TYPE_NONE"])[0]
    if kind not in ("TYPE_NONE", "TYPE_X509_PEM_FILE"):
        raise invalid(f"This emulator does not give {kind}.")
    answer = _shown(key, account)
    return answer if kind == "TYPE_NONE" else answer | {"publicKeyData": _encoded(key.certificate)}


def create(state: State, request: Request, account: Account, life: float | None) -> dict[str, Any]:
    """projects.serviceAccounts.keys.create; ``life`` is what the organization allows a key, in seconds."""
    document = request.document()
    algorithm = document.get("keyAlgorithm", "KEY_ALG_RSA_2048")
    kind = document.get("privateKeyType", "TYPE_GOOGLE_CREDENTIALS_FILE")
    if algorithm not in SIZES or kind != "TYPE_GOOGLE_CREDENTIALS_FILE":
        raise invalid(f"This emulator does not make {algorithm} as {kind}.")
    _refuse_full(state, account)
    now = time.time()
    ends = now + life if life else None
    private, certificate = certificates.fresh(SIZES[algorithm], account.unique_id, ends)
    key = Key(secrets.token_hex(20), account.email, certificate, algorithm, "GOOGLE_PROVIDED", USER, now, ends)
    state.put_key(key)
    return _shown(key, account) | {
        "privateKeyType": kind,
        "privateKeyData": _encoded(_key_file(account, key.id, private, request.base)),
    }


def upload(state: State, request: Request, account: Account) -> dict[str, Any]:
    """projects.serviceAccounts.keys.upload: the private half stays with whoever made it."""
    text = request.document().get("publicKeyData", "")
    try:
        pem = base64.b64decode(text, validate=True)
    except (binascii.Error, TypeError, ValueError):
        raise invalid("Invalid value at 'public_key_data': Base64 decoding failed.") from None
    size, ends = certificates.read(pem)
    _refuse_full(state, account)
    algorithm = f"KEY_ALG_RSA_{size}"
    key = Key(secrets.token_hex(20), account.email, pem.decode(), algorithm, "USER_PROVIDED", USER, time.time(), ends)
    state.put_key(key)
    return _shown(key, account)


def switch(state: State, key: Key, *, disabled: bool) -> dict[str, Any]:
    """projects.serviceAccounts.keys.disable and enable."""
    _refuse_googles_own(key)
    state.put_key(replace(key, disabled=disabled))
    return {}


def delete(state: State, key: Key) -> dict[str, Any]:
    """projects.serviceAccounts.keys.delete: for good."""
    _refuse_googles_own(key)
    state.drop_key(key)
    return {}


def _refuse_full(state: State, account: Account) -> None:
    """In the words in which the service has refused an eleventh key since 2022; before, it was 429."""
    if sum(key.managed == USER for key in state.keys(account.email)) >= LIMIT:
        raise Refusal(400, "FAILED_PRECONDITION", "Precondition check failed.")


def _refuse_googles_own(key: Key) -> None:
    if key.managed != USER:
        raise Refusal(400, "FAILED_PRECONDITION", "A system-managed key can't be changed.")


def _shown(key: Key, account: Account) -> dict[str, Any]:
    answer = {
        "name": f"projects/{account.project}/serviceAccounts/{account.email}/keys/{key.id}",
        "keyAlgorithm": key.algorithm,
        "validAfterTime": _stamp(datetime.fromtimestamp(key.created, UTC)),
        "validBeforeTime": _stamp(datetime.fromtimestamp(key.ends, UTC) if key.ends else certificates.NEVER),
        "keyOrigin": key.origin,
        "keyType": key.managed,
    }
    return answer | ({"disabled": True} if key.disabled else {})


def _stamp(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _key_file(account: Account, key_id: str, private: str, base: str) -> str:
    document = {
        "type": "service_account",
        "project_id": account.project,
        "private_key_id": key_id,
        "private_key": private,
        "client_email": account.email,
        "client_id": account.unique_id,
        "auth_uri": "https://accounts.google.com/o/oauth2/auth",
        "token_uri": f"{base}/token",
        "auth_provider_x509_cert_url": "https://www.googleapis.com/oauth2/v1/certs",
        "client_x509_cert_url": f"https://www.googleapis.com/robot/v1/metadata/x509/{account.email}",
        "universe_domain": "googleapis.com",
    }
    return json.dumps(document, indent=2) + "\n"
