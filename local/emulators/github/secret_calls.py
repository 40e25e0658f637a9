"""Secrets: sealed when they come, and never told. Source: "REST API endpoints for GitHub Actions Secrets"."""

from typing import Any, Final

from local.emulators.github.messages import Answer, Refusal, Request
from local.emulators.github.names import checked, now, page
from local.emulators.github.state import Scope

MOST: Final = 100
"""Secrets that a repository, or an environment, may have."""
LARGEST: Final = 48 * 1024


def answer(scope: Scope, request: Request, name: str | None) -> Answer:
    """The answer to a call on the secrets, or on one of them."""
    if name is None:
        listing = page(request, [_shown(name, scope) for name in sorted(scope.secrets)], 100)
        return Answer(200, {"total_count": len(scope.secrets), "secrets": listing})
    if name == "public-key":
        return Answer(200, {"key_id": scope.key_id, "key": scope.public_key})
    if request.method == "PUT":
        return _put(scope, request, name)
    if name.upper() not in scope.secrets:
        raise Refusal(404, "Not Found")
    if request.method == "DELETE":
        del scope.secrets[name.upper()]
        return Answer(204)
    return Answer(200, _shown(name.upper(), scope))


def _put(scope: Scope, request: Request, name: str) -> Answer:
    key = checked(name, "Secret")
    sealed, key_id = request.texts("encrypted_value", "key_id")
    if key_id != scope.key_id:
        raise Refusal(422, "Bad request - The key_id is not the current key's")
    content = scope.unsealed(sealed)
    if content is None:
        raise Refusal(422, "Improperly encrypted secret")
    if len(content) > LARGEST:
        raise Refusal(422, "Secret is too large: it must be at most 48 KB")
    if key not in scope.secrets and len(scope.secrets) >= MOST:
        raise Refusal(422, f"A maximum of {MOST} secrets is allowed")
    created = scope.secrets.get(key, {}).get("created_at")
    moment = now()
    scope.secrets[key] = {"sealed": sealed, "created_at": created or moment, "updated_at": moment}
    return Answer(204) if created else Answer(201, {})


def _shown(name: str, scope: Scope) -> dict[str, Any]:
    secret = scope.secrets[name]
    return {"name": name, "created_at": secret["created_at"], "updated_at": secret["updated_at"]}
