"""The kinds of access log there are: to add one, add a line."""

from typing import Final

ACCESS_LOGS: Final = {
    "hub-file": "keyturn.catalogue.access_logs.hub.HubFileSettings",
}
"""The settings of each kind of access log, by the name of their class; they name the adapter in turn."""
