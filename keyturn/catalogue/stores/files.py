"""Files of this machine as a store."""

from typing import Literal

from keyturn.catalogue.stores.base import StoreBase, System
from keyturn.settings.fields import Line


class FileSettings(StoreBase):
    """A directory of this machine: one file for each copy, readable by its owner alone."""

    kind: Literal["file"]
    """Which store this is."""
    directory: Line
    """The directory; it is made when it is missing."""
    format: Literal["json", "dotenv"] = "json"
    """How the fields stand in a file."""

    @property
    def system(self) -> System:
        """The directory."""
        return (self.kind, self.directory.rstrip("/"))
