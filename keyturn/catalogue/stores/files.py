"""Files of this machine as a store."""

from typing import Literal, Self

from pydantic import model_validator

from keyturn.core.sensitive import Sensitive
from keyturn.core.store_limits import FILE, LIMITS
from keyturn.core.text import dotenv
from keyturn.core.text.dotenv import Reader
from keyturn.settings.fields import Line, refused
from keyturn.settings.stores import Placed, System


class FileSettings(Placed):
    """A directory of this machine: one file for each copy, readable only by its owner."""

    kind: Literal["file"]
    """The kind of store."""
    directory: Line
    """The directory; it is made if missing."""
    format: Literal["json", "dotenv"] = "json"
    """The format of a file."""
    reader: Reader | None = None
    """The reader of files in the format dotenv: compose, python (python-dotenv), shell or docker (--env-file)."""

    ADAPTER = "keyturn.providers.files.store:Files"
    LIMITS = LIMITS[FILE]
    MERGES = True

    @model_validator(mode="after")
    def _lines_have_a_reader(self) -> Self:
        if self.reader and self.format != "dotenv":
            raise refused("only lines have a reader", "Say format: dotenv too, or leave it out.", "reader")
        return self

    @property
    def system(self) -> System:
        return (self.kind, self.directory.rstrip("/"))

    def refuses_value(self, value: Sensitive) -> str | None:
        return dotenv.refuses(value, self.reader) if self.format == "dotenv" else None
