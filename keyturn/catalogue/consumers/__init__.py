"""Settings of consumers, applications that are notified of changes: one model for each kind."""

from typing import TYPE_CHECKING, Annotated

from keyturn.catalogue.consumers.registry import CONSUMERS, DEFAULT
from keyturn.settings.choices import ByTag, Registered
from keyturn.settings.consumers import ConsumerBase

if TYPE_CHECKING:
    ConsumerSettings = ConsumerBase
else:
    ConsumerSettings = Annotated[
        ConsumerBase, ByTag("kind", DEFAULT, Registered(CONSUMERS, "keyturn.consumers", ConsumerBase))
    ]
