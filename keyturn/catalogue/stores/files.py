"""Files of this machine as a store."""

from typing import Literal, Self

from pydantic import model_validator

from keyturn.core.sensitive import Sensitive
from keyturn.core.text import dotenv
from keyturn.core.text.dotenv import Reader
from keyturn.core.text.names import FILE, LIMITS
from keyturn.settings.fields import Line, refused
from keyturn.settings.stores import Placed, System


class FileSettings(Placed):
    """A directory of this machine: one file for each copy, readable by its owner alone."""

    kind: Literal["file"]
    """Which store this is."""
    directory: Line
    """The directory; it is made when it is missing."""
    format: Literal["json", "dotenv"] = "json"
    """How the fields stand in a file."""
    reader: Reader | None = None
    """Who reads the lines of the format dotenv: compose, python (python-dotenv), shell or docker (--env-file)."""

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
        """The directory."""
        return (self.kind, self.directory.rstrip("/"))

    def refuses_value(self, value: Sensitive) -> str | None:
        """What the reader of the lines would read as something else."""
        return dotenv.refuses(value, self.reader) if self.format == "dotenv" else None
