"""The stores that secrets are pushed to: one model for each kind, of those that the registry names."""

import importlib
from collections.abc import Mapping
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated, Final, get_args

from keyturn.catalogue.stores.registry import STORES
from keyturn.settings.choices import ByTag
from keyturn.settings.stores import StoreBase


def load_settings(name: str) -> type[StoreBase]:
    """The class of a store's settings, by the name of its module and its own."""
    module, _, settings = name.rpartition(".")
    loaded: type[StoreBase] = getattr(importlib.import_module(module), settings)
    return loaded


def kind_of_settings(settings: type[StoreBase]) -> str:
    """What a store of these settings is called in the catalogue."""
    (kind,) = get_args(settings.model_fields["kind"].annotation)
    return str(kind)


STORE_KINDS: Final[Mapping[str, type[StoreBase]]] = {
    kind_of_settings(settings): settings for settings in map(load_settings, STORES)
}
"""The settings of each kind of store, by the kind."""

if TYPE_CHECKING:
    StoreSettings = StoreBase
else:
    StoreSettings = Annotated[reduce(or_, STORE_KINDS.values()), ByTag("kind")]
