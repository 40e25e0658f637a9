"""The authorization server of a target whose ``login`` gets a token, in front of a recipe's service."""

import secrets
from collections.abc import Mapping
from typing import Any

from local.emulators.recipes.matching import Received, Shape, put
from local.emulators.recipes.server import Answer, Service, base_of

LIFETIME = 3600


class SignedIn(Service):
    """Answers token requests, and passes every other request on to ``service``.

    The token is the value of ``{{login.token}}``, which the service has to know. A JWT that is sent without an exchange
    is not checked.
    """

    def __init__(self, service: Service, target: Mapping[str, Any], admin: Mapping[str, str], token: str) -> None:
        login = target["login"]
        settings = login.get("exchange") if login["kind"] == "signed-jwt" else login
        self.service = service
        self.token = token
        self.settings = settings or {}
        known = {f"admin.{name}": value for name, value in admin.items()}
        grant = {"grant_type": "client_credentials"} if login["kind"] == "client-credentials" else {}
        part = "body" if "body" in self.settings else "form"
        sent = {**self.settings, part: {**grant, **(self.settings.get(part) or {})}, "path": ""}
        self.shape = Shape(sent, "POST", base_of(settings["url"]), known) if settings else None

    def answer(self, received: Received) -> Answer:
        if self.shape is None or self.shape.match(received) is None:
            return self.service.answer(received)
        document = put({}, self.settings.get("token", "/access_token"), self.token)
        return Answer(200, put(document, self.settings.get("expires", "/expires_in"), LIFETIME))

    def close(self) -> None:
        self.service.close()


def new_token(target: Mapping[str, Any]) -> dict[str, str]:
    """The value of the name that a target's headers use for its login; none where the JWT is the token."""
    login = target.get("login", {})
    exchanges = login.get("kind") != "signed-jwt" or "exchange" in login
    return {"login.token": secrets.token_urlsafe(24)} if login and exchanges else {}
