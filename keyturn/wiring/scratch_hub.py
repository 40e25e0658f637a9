"""Opens the scratch hub of a drill, with the drill's own mounts."""

from secrets import token_hex

from keyturn.catalogue.operator.backups import RestoreDrillSettings
from keyturn.providers.vault.hub import VaultHub
from keyturn.settings.hub import HubSettings
from keyturn.settings.hub_login import TokenLogin
from keyturn.wiring.backups import DRILL_MOUNTS


def open_scratch(settings: RestoreDrillSettings, areas: dict[str, str]) -> VaultHub:
    """That hub, with mounts below ``keyturn-drill/`` for the backup's areas."""
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
