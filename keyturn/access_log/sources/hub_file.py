"""The growing file of an audit device of OpenBao or Vault, with its rotations."""

from pathlib import Path

from keyturn.access_log.hub_reads import HubReads
from keyturn.access_log.sources.line_source import LineSource
from keyturn.core.ports.access_source import SourceOpening


class HubFile(LineSource):
    """Reads of values, unwrapping and logins from the hub's own file."""

    def __init__(self, opening: SourceOpening, *, log_file: str) -> None:
        hint = "Give the path of a file audit device, and let this user's group read it (its option `mode`)"
        reads = HubReads(opening.mount, logins=True)
        super().__init__(opening.name, opening.pace, Path(log_file).expanduser(), reads, hint)
