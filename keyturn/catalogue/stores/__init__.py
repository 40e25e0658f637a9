"""The stores that secrets are pushed to: one model for each kind, of those that the registry names."""

from typing import TYPE_CHECKING, Annotated, Final

from keyturn.catalogue.stores.registry import STORES
from keyturn.settings.choices import ByTag, Registered
from keyturn.settings.stores import StoreBase

STORE_KINDS: Final = Registered[StoreBase](STORES, "keyturn.stores")
"""The settings of each kind of store, by the kind."""

if TYPE_CHECKING:
    StoreSettings = StoreBase
else:
    StoreSettings = Annotated[StoreBase, ByTag("kind", registered=STORE_KINDS)]
