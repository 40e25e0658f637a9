"""The hub's own audit log, which OpenBao and Vault write in the same words."""

from typing import Literal

from keyturn.settings.access_logs import AccessLogBase
from keyturn.settings.fields import Line


class HubFileSettings(AccessLogBase):
    """The file of an audit device of OpenBao or Vault, with what was rotated beside it. Each node has its own."""

    kind: Literal["hub-file"]
    """Which log it is."""
    log_file: Line
    """The file that the audit device writes; rotated ones are found beside it."""

    ADAPTER = "keyturn.access_log.sources.hub_file:HubFile"
