"""The keys that are managed where they lie: one model for each kind, of those that the registry names."""

from typing import TYPE_CHECKING, Annotated, Final

from keyturn.catalogue.keys.registry import KEYS
from keyturn.settings.choices import ByTag, Registered
from keyturn.settings.keys import KeyBase

KEY_KINDS: Final = Registered[KeyBase](KEYS, "keyturn.keys")
"""The settings of each kind of key, by the kind."""

if TYPE_CHECKING:
    KeySettings = KeyBase
else:
    KeySettings = Annotated[KeyBase, ByTag("kind", registered=KEY_KINDS)]
