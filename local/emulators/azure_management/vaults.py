"""Key vaults as Resource Manager tells of them: "Vaults - Get" of their resource provider, and no other call."""

from collections.abc import Mapping
from typing import Any, Final

from local.emulators.azure_key_vault.messages import Answer, Refusal, Request
from local.emulators.azure_management.directory import permitted

READ: Final = "Microsoft.KeyVault/vaults/read"
TYPE: Final = "Microsoft.KeyVault/vaults"


class Vaults:
    """The vaults of one subscription: their properties, by resource group and name."""

    def __init__(self, subscription: str) -> None:
        self.subscription = subscription
        self.properties: dict[tuple[str, str], dict[str, Any]] = {}

    def id_of(self, group: str, name: str) -> str:
        """A vault's resource id."""
        return f"/subscriptions/{self.subscription}/resourceGroups/{group}/providers/{TYPE}/{name}"

    def manage(self, request: Request, claims: Mapping[str, Any]) -> Answer | None:
        """The answer to a call about a vault, None for what is about something else. Raises a refusal."""
        match request.parts:
            case (_, subscription, _, group, _, provider, kind, name) if f"{provider}/{kind}".lower() == TYPE.lower():
                return self._described(request, claims, subscription, group, name)
        return None

    def _described(
        self, request: Request, claims: Mapping[str, Any], subscription: str, group: str, name: str
    ) -> Answer:
        if READ not in permitted(claims):
            message = f"The client '{claims['appid']}' does not have authorization to perform action '{READ}'."
            raise Refusal(403, "AuthorizationFailed", message)
        properties = self.properties.get((group, name)) if subscription == self.subscription else None
        if properties is None:
            message = f"The Resource '{TYPE}/{name}' under resource group '{group}' was not found."
            raise Refusal(404, "ResourceNotFound", message)
        if request.method != "GET":
            raise Refusal(405, "HttpMethodNotAllowed", "The HTTP method is not supported at this scope.")
        return Answer({"id": self.id_of(group, name), "name": name, "type": TYPE, "properties": properties})
