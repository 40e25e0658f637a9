"""Settings of stores: one model for each registered kind."""

from typing import TYPE_CHECKING, Annotated, Final

from keyturn.catalogue.stores.registry import STORES
from keyturn.settings.choices import ByTag, Registered
from keyturn.settings.stores import StoreBase

STORE_KINDS: Final = Registered(STORES, "keyturn.stores", StoreBase)

if TYPE_CHECKING:
    StoreSettings = StoreBase
else:
    StoreSettings = Annotated[StoreBase, ByTag("kind", registered=STORE_KINDS)]
