"""Limits on requests of the same kind within an hour: more than people make, less than a flood."""

from typing import Annotated, Final

from pydantic import Field

from keyturn.settings.fields import Model

LEAST_ROTATIONS: Final = 100
TIMES: Final = 3
"""The number of requested rotations within an hour, for each secret of a catalogue."""

Limit = Annotated[int, Field(ge=1, le=100_000)]


class LimitSettings(Model):
    """Limits on requests within an hour. Scheduled work is never limited."""

    incidents: Limit = 60
    """Incidents that begin through Prefect, or that include more than one secret."""
    incidents_of_one_login: Limit = 240
    """Incidents over one secret that one login begins by commands; other logins' incidents do not count."""
    incidents_of_one_secret: Annotated[int, Field(ge=1, le=1_000)] = 6
    """Incidents over the same secret; for those by commands, only the login's own count."""
    rotations: Limit | None = None
    """Rotations requested by people or events; by default, 3 for each secret of the catalogue, and at least 100."""
    rotations_of_one_secret: Annotated[int, Field(ge=1, le=100)] = 12
    """Requested rotations of one secret. Its record keeps only 20, so higher limits have no effect."""

    def most_rotations(self, secrets: int) -> int:
        return self.rotations or max(LEAST_ROTATIONS, TIMES * secrets)
