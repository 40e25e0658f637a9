"""The consumers, applications that are told when a secret of theirs changes: one model for each way of being told."""

import importlib
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated

from keyturn.catalogue.consumers.registry import CONSUMERS, DEFAULT
from keyturn.settings.choices import ByTag
from keyturn.settings.consumers import ConsumerBase


def load_settings(name: str) -> type[ConsumerBase]:
    """The class of a consumer's settings, by the name of its module and its own."""
    module, _, settings = name.rpartition(".")
    loaded: type[ConsumerBase] = getattr(importlib.import_module(module), settings)
    return loaded


if TYPE_CHECKING:
    ConsumerSettings = ConsumerBase
else:
    ConsumerSettings = Annotated[reduce(or_, map(load_settings, CONSUMERS)), ByTag("kind", DEFAULT)]
