"""Settings of managed keys: one model for each registered kind."""

from typing import TYPE_CHECKING, Annotated, Final

from keyturn.catalogue.keys.registry import KEYS
from keyturn.settings.choices import ByTag, Registered
from keyturn.settings.keys import KeyBase

KEY_KINDS: Final = Registered(KEYS, "keyturn.keys", KeyBase)

if TYPE_CHECKING:
    KeySettings = KeyBase
else:
    KeySettings = Annotated[KeyBase, ByTag("kind", registered=KEY_KINDS)]
