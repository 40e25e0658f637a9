"""The file of an audit device of OpenBao or Vault, read as it grows, with what was rotated beside it."""

from pathlib import Path

from keyturn.access_log.hub_reads import HubReads
from keyturn.access_log.sources.line_source import LineSource
from keyturn.core.ports.access_source import SourceOpening


class HubFile(LineSource):
    """Reads of values, their unwrapping and logins, as the hub's own file tells them."""

    def __init__(self, opening: SourceOpening, *, log_file: str) -> None:
        hint = "Give the path of a file audit device, and let this user's group read it (its option `mode`)"
        reads = HubReads(opening.mount, logins=True)
        super().__init__(opening.name, opening.pace, Path(log_file).expanduser(), reads, hint)
