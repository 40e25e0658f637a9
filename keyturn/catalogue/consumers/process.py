"""A program on Keyturn's machine that is notified by a file, a signal or both."""

from typing import Literal, Self

from pydantic import model_validator

from keyturn.settings.consumers import ConsumerBase
from keyturn.settings.fields import Line, refused


class ProcessSettings(ConsumerBase):
    """A program on the worker's machine. It answers by removing the notice from its directory."""

    kind: Literal["process"]
    """The kind of consumer."""
    directory: Line | None = None
    """The directory for notices, one file each; the program removes a notice once it uses the new credential."""
    pid_file: Line | None = None
    """The file with the id of the process to signal, in a directory that the operator's file allows."""
    signal: Literal["HUP", "USR1", "USR2"] = "HUP"
    """The signal; the program needs a handler for it."""

    ADAPTER = "keyturn.providers.host.process:HostProcess"

    @property
    def answers(self) -> bool:
        return self.directory is not None

    @model_validator(mode="after")
    def _told_somehow(self) -> Self:
        if self.directory is None and self.pid_file is None:
            raise refused("no way to notify it is given", "Say directory, pid_file, or both.", "directory")
        return self
