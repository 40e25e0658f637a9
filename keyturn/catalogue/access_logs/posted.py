"""Accesses that applications report themselves, each with its own name and key."""

from typing import Annotated, Final, Literal

from pydantic import Field

from keyturn.settings.access_logs import AccessLogBase
from keyturn.settings.fields import Line, Model, matching

POSTER: Final = "[A-Za-z0-9][A-Za-z0-9_-]{0,62}"

PosterName = Annotated[str, matching(POSTER, "this name can't be used", "Use 1 to 63 letters, digits, - and _.")]


def key_entry(log: str, poster: str) -> str:
    return f"posters/{log}/{poster}"


class PosterSettings(Model):
    """An application that posts accesses, signed with the key at posters/LOG/NAME in Keyturn's own mount of the hub."""

    principal: Line | None = None
    """The principal for the log, regardless of its messages; by default, its name."""


class PostedSettings(AccessLogBase):
    """Accesses that applications post to `keyturn serve`, kept on this machine until they are read."""

    kind: Literal["posted"]
    """The kind of access log."""
    posters: Annotated[dict[PosterName, PosterSettings], Field(min_length=1)]
    """The applications that may post, by name."""

    ADAPTER = "keyturn.access_log.sources.posted:PostedSource"
    LOCAL = True
    OWN = AccessLogBase.OWN | {"posters"}

    def keys(self, name: str) -> tuple[str, ...]:
        return tuple(key_entry(name, poster) for poster in self.posters)
