"""How often within an hour the same thing may be asked for: more than people do, and less than a flood does."""

from typing import Annotated, Final

from pydantic import Field

from keyturn.settings.fields import Model

LEAST_ROTATIONS: Final = 100
TIMES: Final = 3
"""So often within an hour every secret of a catalogue may be rotated at somebody's word."""

Limit = Annotated[int, Field(ge=1, le=100_000)]


class LimitSettings(Model):
    """How much may be asked for within an hour. What a schedule does is never held back."""

    incidents: Limit = 60
    """Incidents that are begun through Prefect, or over more than one secret."""
    incidents_of_one_login: Limit = 240
    """Incidents over one secret that one login begins by commands: others' count for nothing there."""
    incidents_of_one_secret: Annotated[int, Field(ge=1, le=1_000)] = 6
    """Incidents over the same secret; of those by commands the login's own alone count."""
    rotations: Limit | None = None
    """Rotations that somebody or an event asks for; without it 3 for each secret of the catalogue, and 100 at least."""
    rotations_of_one_secret: Annotated[int, Field(ge=1, le=100)] = 12
    """The same of one secret. Its record remembers 20: more than that is no limit."""

    def most_rotations(self, secrets: int) -> int:
        """How many rotations of a catalogue with so many secrets may be asked for."""
        return self.rotations or max(LEAST_ROTATIONS, TIMES * secrets)
