"""The vault as one function from request to answer."""

import time
from collections.abc import Callable, Container, Iterable
from pathlib import Path
from typing import Final

from local.emulators.azure_key_vault.auth import TOKEN_SECONDS, Directory, SignIn, allow
from local.emulators.azure_key_vault.key_calls import KEYS, KeyCalls
from local.emulators.azure_key_vault.lifecycle import Collection
from local.emulators.azure_key_vault.messages import Answer, Refusal, Request, bad_parameter
from local.emulators.azure_key_vault.secret_calls import SECRETS, SecretCalls
from local.emulators.azure_key_vault.state import State
from local.emulators.azure_key_vault.throttle import Limits, Throttle
from local.emulators.rights import Rights

API_VERSIONS: Final = ("2016-10-01", "7.0", "7.1", "7.2", "7.3", "7.4", "7.5", "7.6", "2025-07-01", "2026-04-01")


class Emulator:
    """One vault with its directory, kept under ``data``.

    ``settle`` is how many seconds a deletion, recovery or purge takes; with ``purge_protection`` no secret can be
    purged; ``policies`` are built-in ones that deny what breaks them; ``clock`` tells the time in seconds since 1970;
    ``rights`` are those of logins that may not do everything.
    """

    def __init__(
        self,
        data: Path,
        directory: Directory,
        *,
        limits: Limits | None = None,
        settle: float = 0,
        purge_protection: bool = False,
        policies: Container[str] = (),
        token_seconds: int = TOKEN_SECONDS,
        clock: Callable[[], float] = time.time,
        rights: Iterable[Rights] = (),
    ) -> None:
        self._rights = tuple(rights)
        self._state = State(data)
        self._sign_in = SignIn(directory, self._state.kept("token key"), clock, token_seconds)
        self.throttle = Throttle(limits or Limits())
        collection = Collection(SECRETS, self._state, clock, settle, purge_protection=purge_protection)
        secrets = SecretCalls(collection, policies)
        keys = KeyCalls(Collection(KEYS, self._state, clock, settle))
        self._calls: dict[str, SecretCalls | KeyCalls] = {
            "secrets": secrets,
            "deletedsecrets": secrets,
            "keys": keys,
            "deletedkeys": keys,
        }

    def close(self) -> None:
        """Let go of the data; the emulator can't be used afterwards."""
        self._state.close()

    def answer(self, request: Request) -> Answer:
        """The answer to any call; refusals are answers too."""
        if self._sign_in.serves(request):
            return self._sign_in.answer(request)
        try:
            return self._vault(request)
        except Refusal as refusal:
            return refusal.answer

    def _vault(self, request: Request) -> Answer:
        role = self._sign_in.role(request)
        _check_api_version(request)
        root = request.parts[0] if request.parts else ""
        calls = self._calls.get(root)
        if calls is None:
            raise Refusal(404, "NotFound", "The requested resource does not exist.")
        route = calls.route(request)
        if route is None:
            raise Refusal(405, "MethodNotAllowed", f"HTTP {request.method} not allowed")
        action, call = route
        for rights in self._rights:
            rights.refresh()
        self.throttle.admit(creates=action == "setSecret/action")
        name = request.parts[1] if len(request.parts) > 1 else ""
        allow(role, f"{root.removeprefix('deleted')}/{action}", name)
        return call()


def _check_api_version(request: Request) -> None:
    version = request.query.get("api-version")
    if version is None:
        raise bad_parameter("api-version must be specified")
    if version not in API_VERSIONS:
        raise bad_parameter(
            f"The specified version ({version}) is not recognized. "
            f"Consider using the latest supported version ({API_VERSIONS[-1]})."
        )
