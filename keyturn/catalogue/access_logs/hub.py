"""The hub's own audit log, in the format that OpenBao and Vault share."""

from typing import Annotated, Final, Literal, Self

from pydantic import WithJsonSchema, model_validator

from keyturn.settings.access_logs import AccessLogBase
from keyturn.settings.fields import Line, matching, refused

LOOPBACK: Final = r"(127\.[0-9.]+|\[::1\]):[0-9]{1,5}"

OwnPort = Annotated[
    str,
    matching(LOOPBACK, "is no port of this machine", "Write 127.0.0.1:9750: others could read and write lines there."),
    WithJsonSchema({"type": "string", "pattern": f"^{LOOPBACK}$"}),
]


class HubFileSettings(AccessLogBase):
    """The file of an audit device of OpenBao or Vault, with its rotated files. Each node has its own."""

    kind: Literal["hub-file"]
    """The kind of access log."""
    log_file: Line
    """The file that the audit device writes; rotated files are in the same directory."""

    ADAPTER = "keyturn.access_log.sources.hub_file:HubFile"


class HubSocketSettings(AccessLogBase):
    """Lines from the socket audit device of OpenBao or Vault, kept on this machine until they are read."""

    kind: Literal["hub-socket"]
    """The kind of access log."""
    listen: OwnPort | None = None
    """The TCP port of this machine to listen at, such as 127.0.0.1:9750; either this or directory."""
    directory: Line | None = None
    """The directory of the socket audit.sock to listen at; either this or listen."""
    users: tuple[Line, ...] = ()
    """The users of this machine who may send lines to that socket, in addition to root and Keyturn's user."""

    ADAPTER = "keyturn.access_log.sources.hub_socket:HubSocket"
    LOCAL = True

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.listen is None) == (self.directory is None):
            raise refused("it listens at a port or in a directory", "Say one of listen and directory.", "listen")
        if self.users and self.directory is None:
            remedy = "Say directory: it is unknown who connects to a port of this machine."
            raise refused("only a socket can tell users apart", remedy, "users")
        return self
