"""How long Keyturn's own keys may serve: the operator's to say, not the catalogue's."""

from datetime import timedelta
from typing import Annotated, Final

from pydantic import AfterValidator

from keyturn.settings.fields import Duration, Model, refused

SHORTEST: Final = timedelta(hours=1)
"""As often as the flow looks."""


def _long_enough(duration: timedelta) -> timedelta:
    if duration < SHORTEST:
        raise refused("is shorter than an hour", "Write 1h or more: they are looked at once an hour.")
    return duration


Age = Annotated[Duration, AfterValidator(_long_enough)]


class OwnKeySettings(Model):
    """When Keyturn's own keys are replaced."""

    webhook_keys: Age = timedelta(days=90)
    """How old a key that signs notices may become."""
    webhook_grace: Duration = timedelta(days=7)
    """How long notices are signed with the old key and the new one at least."""
    fingerprint_key: Age | None = None
    """How old the key of the fingerprints may become; without it, it is replaced where somebody says so, since that
    marks every copy anew."""
    ledger_key: Age | None = None
    """How old the key that signs the ledger may become before it is told of; the hub, or a person, replaces it."""
    secret_ids: Age = timedelta(days=30)
    """How old the secret id of an AppRole may become; one that ends by itself is replaced before that, too."""
