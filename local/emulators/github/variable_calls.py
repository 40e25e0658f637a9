"""Variables, which are told to everybody who may read. Source: "REST API endpoints for GitHub Actions variables"."""

from typing import Any, Final

from local.emulators.github.messages import Answer, Refusal, Request
from local.emulators.github.names import checked, now, page
from local.emulators.github.state import Scope

MOST: Final = 500
"""Variables that a repository may have."""
MOST_IN_ENVIRONMENT: Final = 100
LARGEST: Final = 48 * 1024


def answer(scope: Scope, request: Request, name: str | None, *, environment: bool) -> Answer:
    """The answer to a call on the variables, or on one of them."""
    if name is None and request.method == "POST":
        return _create(scope, request, MOST_IN_ENVIRONMENT if environment else MOST)
    if name is None:
        listing = page(request, [_shown(name, scope) for name in sorted(scope.variables)], 30, otherwise=10)
        return Answer(200, {"total_count": len(scope.variables), "variables": listing})
    if name.upper() not in scope.variables:
        raise Refusal(404, "Not Found")
    if request.method == "PATCH":
        _fill(scope, name.upper(), *request.texts("value"))
        return Answer(204)
    if request.method == "DELETE":
        del scope.variables[name.upper()]
        return Answer(204)
    return Answer(200, _shown(name.upper(), scope))


def _create(scope: Scope, request: Request, most: int) -> Answer:
    name, value = request.texts("name", "value")
    key = checked(name, "Variable")
    if key in scope.variables:
        raise Refusal(409, "Already exists - Variable already exists")
    if len(scope.variables) >= most:
        raise Refusal(422, f"A maximum of {most} variables is allowed")
    _fill(scope, key, value)
    return Answer(201, {})


def _fill(scope: Scope, name: str, value: str) -> None:
    if len(value.encode()) > LARGEST:
        raise Refusal(422, "Variable is too large: it must be at most 48 KB")
    created = scope.variables.get(name, {}).get("created_at")
    moment = now()
    scope.variables[name] = {"value": value, "created_at": created or moment, "updated_at": moment}


def _shown(name: str, scope: Scope) -> dict[str, Any]:
    return {"name": name, **scope.variables[name]}
