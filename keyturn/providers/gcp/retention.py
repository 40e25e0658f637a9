"""Which versions are disabled or destroyed once they are no longer served."""

from collections.abc import Collection, Iterable, Iterator
from datetime import timedelta
from typing import Any, Final

from google.cloud.secretmanager_v1.types import SecretVersion

from keyturn.providers.gcp.marks import last

ENABLED: Final = "state:ENABLED"
NOT_DESTROYED: Final = "NOT state:DESTROYED"
"""Filters of the listing. Source: "Filter secrets and secret versions"."""

DISABLE: Final = "disable"
DESTROY: Final = "destroy"


def to_retire(
    versions: Iterable[Any],
    added: SecretVersion,
    latest: SecretVersion,
    aliased: Collection[int],
    destroy_after: timedelta | None,
) -> Iterator[tuple[str, Any]]:
    """What to do to which of these bare messages, newest first, now that ``added`` is there: to older ones alone.

    What stays: the direct predecessor of ``added`` and ``latest``, since readers may be given either for a while yet
    (source: "Resource consistency"), the ``aliased``, and what is scheduled for destruction already. No version says
    when it was disabled: it counts from when the second one after it was created, by the service's own clock.
    """
    stay = min(int(last(added.name)) - 1, int(last(latest.name)))
    disabled = replaced = made = SecretVersion.pb(added).create_time.ToDatetime()
    for version in versions:
        number, state = int(last(version.name)), version.state
        waited = destroy_after is not None and made - disabled >= destroy_after
        if number < stay and number not in aliased and not version.HasField("scheduled_destroy_time"):
            if state == SecretVersion.State.ENABLED:
                yield DISABLE, version
            elif state == SecretVersion.State.DISABLED and waited:
                yield DESTROY, version
        disabled, replaced = replaced, min(replaced, version.create_time.ToDatetime())
