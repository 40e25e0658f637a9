"""Accesses that applications tell of themselves, each under a name and a key of its own."""

from typing import Annotated, Final, Literal

from pydantic import Field

from keyturn.settings.access_logs import AccessLogBase
from keyturn.settings.fields import Line, Model, matching

POSTER: Final = "[A-Za-z0-9][A-Za-z0-9_-]{0,62}"

PosterName = Annotated[str, matching(POSTER, "this name can't be used", "Use 1 to 63 letters, digits, - and _.")]


def key_entry(log: str, poster: str) -> str:
    """Where the key lies that a poster signs with, in Keyturn's own mount of the hub."""
    return f"posters/{log}/{poster}"


class PosterSettings(Model):
    """Somebody who posts accesses, signed with the key at posters/LOG/NAME in Keyturn's own mount of the hub."""

    principal: Line | None = None
    """Who it is in the log, whatever its messages say; without it, its name."""


class PostedSettings(AccessLogBase):
    """What applications post to `keyturn serve`, kept on this machine until it was read."""

    kind: Literal["posted"]
    """Which log it is."""
    posters: Annotated[dict[PosterName, PosterSettings], Field(min_length=1)]
    """Who may post, by name."""

    ADAPTER = "keyturn.access_log.sources.posted:PostedSource"
    LOCAL = True
    OWN = AccessLogBase.OWN | {"posters"}

    def keys(self, name: str) -> tuple[str, ...]:
        """One for each poster: its own, and nobody else's."""
        return tuple(key_entry(name, poster) for poster in self.posters)
