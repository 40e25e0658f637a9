"""The maximum age of Keyturn's own keys, which the operator sets."""

from datetime import timedelta
from typing import Annotated, Final

from pydantic import AfterValidator

from keyturn.settings.fields import Duration, Model, refused

SHORTEST: Final = timedelta(hours=1)
"""The interval of the flow that checks."""


def _long_enough(duration: timedelta) -> timedelta:
    if duration < SHORTEST:
        raise refused("is shorter than an hour", "Write 1h or more: they are looked at once an hour.")
    return duration


Age = Annotated[Duration, AfterValidator(_long_enough)]


class OwnKeySettings(Model):
    """The times at which Keyturn's own keys are replaced."""

    webhook_keys: Age = timedelta(days=90)
    """The maximum age of a key that signs notices."""
    webhook_grace: Duration = timedelta(days=7)
    """The minimum time in which both keys sign notices."""
    fingerprint_key: Age | None = None
    """The maximum age of the fingerprint key. By default it is replaced only on request, since that marks all copies
    again."""
    ledger_key: Age | None = None
    """The age of the ledger's signing key at which it is reported; the hub or a person replaces it."""
    secret_ids: Age = timedelta(days=30)
    """The maximum age of an AppRole's secret id; one that expires is replaced earlier."""
