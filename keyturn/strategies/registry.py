"""The strategies there are: to add one, add a line."""

from typing import Annotated

from pydantic import Field

from keyturn.strategies.accounts import AlternatingUsersSettings, SingleUserSettings
from keyturn.strategies.generated import GeneratedSettings
from keyturn.strategies.vault_dynamic import VaultDynamicSettings

Rotation = Annotated[
    AlternatingUsersSettings | SingleUserSettings | VaultDynamicSettings | GeneratedSettings,
    Field(discriminator="strategy"),
]
