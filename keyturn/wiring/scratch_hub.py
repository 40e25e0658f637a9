"""The scratch hub that a drill restores into, as the operator's file names it, with mounts of the drill's own."""

from secrets import token_hex

from keyturn.catalogue.operator.backups import RestoreDrillSettings
from keyturn.providers.vault.hub import VaultHub
from keyturn.settings.hub import HubSettings
from keyturn.settings.hub_login import TokenLogin
from keyturn.wiring.backups import DRILL_MOUNTS


def open_scratch(settings: RestoreDrillSettings, areas: dict[str, str]) -> VaultHub:
    """That hub, with a mount for each of these areas, which are those of the backup, below ``keyturn-drill/``."""
    below = f"{DRILL_MOUNTS}/{token_hex(4)}"
    hub = VaultHub(
        HubSettings(
            settings.hub,
            mount=f"{below}/secrets",
            state_mount=f"{below}/state",
            namespace=settings.namespace,
            ca_file=settings.ca_file,
            login=TokenLogin(file=settings.token_file),
            transit_mount=f"{below}/transit",
        )
    )
    others = [area.partition(":")[2] for area in areas if ":" in area]
    return hub.mounted({name: f"{below}/mount-{name}" for name in others}) if others else hub
