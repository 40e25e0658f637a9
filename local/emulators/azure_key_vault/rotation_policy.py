"""When a key renews itself: "Configure cryptographic key auto-rotation in Azure Key Vault"."""

import re
from dataclasses import dataclass
from typing import Any, Final

from local.emulators.azure_key_vault.messages import bad_parameter
from local.emulators.azure_key_vault.shapes import DAY, INVALID_PROPERTY
from local.emulators.azure_key_vault.state import Version

DEFAULT: Final[dict[str, Any]] = {
    "lifetimeActions": [{"trigger": {"timeBeforeExpiry": "P30D"}, "action": {"type": "Notify"}}],
    "attributes": {},
}
DURATION: Final = re.compile(r"P(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)D)?")
SHORTEST: Final = 28 * DAY
"""The service accepts no lifetime under 28 days."""


@dataclass(frozen=True)
class RotationPolicy:
    """A policy as the service stores it."""

    document: dict[str, Any]

    @staticmethod
    def asked_for(document: dict[str, Any], now: int, before: dict[str, Any] | None) -> "RotationPolicy":
        """The policy that a request describes. Raises a 400 refusal where it makes no sense."""
        actions, attributes = document.get("lifetimeActions") or [], document.get("attributes") or {}
        policy = RotationPolicy({"lifetimeActions": actions, "attributes": attributes})
        try:
            lifetime = policy.lifetime()
            types = {action["action"]["type"].lower() for action in actions}
            spans = [_seconds(span) for action in actions for span in action["trigger"].values()]
        except (AttributeError, KeyError, TypeError, ValueError):
            raise bad_parameter(INVALID_PROPERTY) from None
        if not types <= {"rotate", "notify"} or any(span <= 0 for span in spans):
            raise bad_parameter(INVALID_PROPERTY)
        if lifetime is not None and lifetime < SHORTEST:
            raise bad_parameter("The expiry time must be at least 28 days")
        created = (before or {}).get("attributes", {}).get("created", now)
        dates = {"created": created, "updated": now}
        expiry = {name: value for name, value in attributes.items() if name == "expiryTime"}
        return RotationPolicy({"lifetimeActions": actions, "attributes": {**expiry, **dates}})

    def lifetime(self) -> int | None:
        """How many seconds a version lives; None for ever."""
        span = self.document["attributes"].get("expiryTime")
        return _seconds(span) if span else None

    def due(self, version: Version, now: float) -> bool:
        """Whether this version ought to be replaced by now."""
        for action in self.document["lifetimeActions"]:
            if action["action"]["type"].lower() != "rotate":
                continue
            trigger = action["trigger"]
            after, before = trigger.get("timeAfterCreate"), trigger.get("timeBeforeExpiry")
            if after and version.created + _seconds(after) <= now:
                return True
            if before and version.exp is not None and version.exp - _seconds(before) <= now:
                return True
        return False


def _seconds(span: str) -> int:
    """The length of an ISO 8601 duration of years (365 days), months (30 days) or days. Raises ValueError."""
    match = DURATION.fullmatch(span)
    if match is None:
        raise ValueError("not a duration")
    years, months, days = (int(number or 0) for number in match.groups())
    return (365 * years + 30 * months + days) * DAY
