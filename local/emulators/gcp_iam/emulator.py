"""The services as one function from request to answer."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from local.emulators.gcp_iam import account_calls, key_calls, metrics, tokens
from local.emulators.gcp_iam.messages import Answer, Refusal, Request, not_found
from local.emulators.gcp_iam.state import Account, State

IAM: Final = re.compile(
    r"/v1/projects/(?P<project>[^/]+)/serviceAccounts"
    r"(/(?P<account>[^/:]+)(?P<keys>/keys(/(?P<key>[^/:]+))?)?)?(:(?P<verb>\w+))?"
)
PROJECT: Final = re.compile(r"/v1/projects/[^/]+:testIamPermissions")
MONITORING: Final = re.compile(r"/v3/projects/(?P<project>[^/]+)/timeSeries")

Call = Callable[[], dict[str, Any]]


@dataclass(frozen=True)
class Conduct:
    """How the emulator differs from an open one.

    ``settle`` is how many seconds pass until a new key signs in, ``key_life`` how many an organization allows a key
    made here (None: for ever), ``denied`` the permissions that the caller lacks, ``on_project`` those that are told to
    be the caller's on the whole project (None: all others).
    """

    settle: float = 0
    key_life: float | None = None
    denied: frozenset[str] = frozenset()
    on_project: frozenset[str] | None = None


class Emulator:
    """Everything that is known of the accounts under ``data``."""

    def __init__(self, data: Path, conduct: Conduct) -> None:
        self._state = State(data)
        self._conduct = conduct

    def add_account(self, email: str) -> None:
        """Make the account, unless an earlier start did."""
        with self._state.transaction():
            if self._state.account(email) is None:
                account_calls.added(self._state, email)

    def close(self) -> None:
        """Let go of the data."""
        self._state.close()

    def answer(self, request: Request) -> Answer:
        """The answer to any call; refusals are answers too."""
        try:
            with self._state.transaction():
                if (request.method, request.path) == ("POST", "/token"):
                    return tokens.answer(self._state, request, self._conduct.settle)
                permission, call = self._route(request)
                self._allow(permission)
                return Answer(call())
        except Refusal as refusal:
            return refusal.answer

    def _allow(self, permission: str) -> None:
        if permission in self._conduct.denied:
            message = f"Permission '{permission}' denied on resource (or it may not exist)."
            raise Refusal(403, "PERMISSION_DENIED", message)

    def _route(self, request: Request) -> tuple[str, Call]:
        """The permission that a call needs, and what does it."""
        if (match := MONITORING.fullmatch(request.path)) and request.method == "GET":
            project = match["project"]
            return "monitoring.timeSeries.list", lambda: metrics.listed(self._state, request, project)
        if PROJECT.fullmatch(request.path) and request.method == "POST":
            return "", lambda: self._held(request, self._conduct.on_project)
        if not (match := IAM.fullmatch(request.path)):
            raise not_found("The requested URL was not found on this server.")
        if match["account"] is None:
            return self._known(request, match, self._on_project(request, match["project"]))
        account = account_calls.find(self._state, match["project"], match["account"])
        if match["keys"] is None:
            return self._known(request, match, self._on_account(request, account))
        if match["key"] is None:
            return self._known(request, match, self._on_keys(request, account))
        return self._known(request, match, self._on_key(request, account, match["key"]))

    def _held(self, request: Request, own: frozenset[str] | None) -> dict[str, Any]:
        """Those of the permissions that the caller has, which everybody is told of themselves."""
        asked, denied = request.document().get("permissions", []), self._conduct.denied
        allowed = [permission for permission in asked if permission not in denied]
        return {"permissions": allowed if own is None else [permission for permission in asked if permission in own]}

    def _known(self, request: Request, match: re.Match[str], calls: dict[str, tuple[str, Call]]) -> tuple[str, Call]:
        wanted = f"{request.method} {match['verb'] or ''}".strip()
        if wanted not in calls:
            raise not_found("The requested URL was not found on this server.")
        return calls[wanted]

    def _on_project(self, request: Request, project: str) -> dict[str, tuple[str, Call]]:
        return {
            "POST": ("iam.serviceAccounts.create", lambda: account_calls.create(self._state, request, project)),
        }

    def _on_account(self, request: Request, account: Account) -> dict[str, tuple[str, Call]]:
        def switched(disabled: bool) -> Call:
            return lambda: account_calls.switch(self._state, account, disabled=disabled)

        return {
            "GET": ("iam.serviceAccounts.get", lambda: account_calls.get(account)),
            "POST testIamPermissions": ("", lambda: self._held(request, None)),
            "POST disable": ("iam.serviceAccounts.disable", switched(True)),
            "POST enable": ("iam.serviceAccounts.enable", switched(False)),
        }

    def _on_keys(self, request: Request, account: Account) -> dict[str, tuple[str, Call]]:
        state, life = self._state, self._conduct.key_life
        return {
            "GET": ("iam.serviceAccountKeys.list", lambda: key_calls.listed(state, request, account)),
            "POST": ("iam.serviceAccountKeys.create", lambda: key_calls.create(state, request, account, life)),
            "POST upload": ("iam.serviceAccountKeys.create", lambda: key_calls.upload(state, request, account)),
        }

    def _on_key(self, request: Request, account: Account, key_id: str) -> dict[str, tuple[str, Call]]:
        state = self._state

        def switched(disabled: bool) -> Call:
            return lambda: key_calls.switch(state, key_calls.find(state, account, key_id), disabled=disabled)

        return {
            "GET": (
                "iam.serviceAccountKeys.get",
                lambda: key_calls.get(request, account, key_calls.find(state, account, key_id)),
            ),
            "DELETE": (
                "iam.serviceAccountKeys.delete",
                lambda: key_calls.delete(state, key_calls.find(state, account, key_id)),
            ),
            "POST disable": ("iam.serviceAccountKeys.disable", switched(True)),
            "POST enable": ("iam.serviceAccountKeys.enable", switched(False)),
        }
