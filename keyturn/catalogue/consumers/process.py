"""A program on the machine that Keyturn runs on: told by a file, by a signal, or by both."""

from typing import Literal, Self

from pydantic import model_validator

from keyturn.settings.consumers import ConsumerBase
from keyturn.settings.fields import Line, refused


class ProcessSettings(ConsumerBase):
    """A program on the worker's own machine. It answers by taking the notice out of its directory."""

    kind: Literal["process"]
    """Which way it is told."""
    directory: Line | None = None
    """Where each notice is laid as a file of its own; the program removes it once it uses the new credential."""
    pid_file: Line | None = None
    """The file with the process's number, which is sent a signal; in a directory that the operator's file allows."""
    signal: Literal["HUP", "USR1", "USR2"] = "HUP"
    """Which signal that is; the program has to have a handler for it."""

    ADAPTER = "keyturn.providers.host.process:HostProcess"

    @property
    def answers(self) -> bool:
        """It does where there is a directory to take notices from; a signal is answered by nobody."""
        return self.directory is not None

    @model_validator(mode="after")
    def _told_somehow(self) -> Self:
        if self.directory is None and self.pid_file is None:
            raise refused("nothing says how it is told", "Say directory, pid_file, or both.", "directory")
        return self
