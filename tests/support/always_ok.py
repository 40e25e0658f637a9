"""A REST API that answers 200 to everything and says in the body whether it did it, as GraphQL servers and Slack do."""

from dataclasses import dataclass
from typing import Any, Final

from tests.support.rest_api import RestApi, Said, Told

CODES: Final = {401: ("UNAUTHENTICATED", "invalid_auth"), 404: ("NOT_FOUND", "not_found"), 409: ("CONFLICT", "taken")}

DEAD_GRAPHQL: Final = {"pointer": "/errors/0/extensions/code", "equals": "UNAUTHENTICATED"}
DEAD_SLACK: Final = {"pointer": "/error", "equals": ["invalid_auth", "token_revoked"]}
GRAPHQL: Final[dict[str, Any]] = {
    "expect": [{"pointer": "/errors", "absent": True}, {"pointer": "/data", "exists": True}],
    "refused": [{"status": [200], "when": [DEAD_GRAPHQL]}],
    "gone": {"status": [200], "when": [{"pointer": "/errors/0/extensions/code", "equals": "NOT_FOUND"}]},
}
SLACK: Final[dict[str, Any]] = {
    "expect": [200, {"pointer": "/ok", "equals": True}],
    "refused": [{"when": [{"pointer": "/ok", "equals": False}, DEAD_SLACK]}],
    "gone": {"when": [{"pointer": "/error", "equals": "not_found"}]},
}
"""How a catalogue describes the answers of each."""


@dataclass
class AlwaysOk(RestApi):
    """:class:`RestApi` whose every answer is 200, ``graphql`` or else as Slack's."""

    graphql: bool = False

    def _answered(self, told: Told) -> Said:
        said = super()._answered(told)
        done = said.status < 300
        code, slack = CODES.get(said.status, ("", ""))
        body = said.body if isinstance(said.body, dict) else {}
        if self.graphql:
            data = body if "data" in body else {"data": body}
            failed = {"data": None, "errors": [{"message": "no", "extensions": {"code": code}}]}
            return Said(200, data if done else failed, said.headers)
        return Said(200, {"ok": True, **body} if done else {"ok": False, "error": slack}, said.headers)
