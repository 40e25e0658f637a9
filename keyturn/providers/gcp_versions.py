"""Which versions are disabled or destroyed once they are no longer served."""

from collections.abc import Collection, Iterable, Iterator
from datetime import timedelta
from typing import Any, Final

from google.cloud.secretmanager_v1.types import SecretVersion

from keyturn.providers.gcp_copies import last

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

    No version says when it was disabled: it counts from when its successor was created, by the service's own clock.
    What stays: ``latest`` and the direct predecessor of ``added``, since readers may be given either for a while yet
    (source: "Resource consistency"), the ``aliased``, and what is scheduled for destruction already.
    """
    served, previous = min(int(last(added.name)), int(last(latest.name))), 0
    since = made = SecretVersion.pb(added).create_time.ToDatetime()
    for version in versions:
        number = int(last(version.name))
        previous = previous or (number if number < int(last(added.name)) else 0)
        stays = number >= served or number in (previous, *aliased) or version.HasField("scheduled_destroy_time")
        waited = destroy_after is not None and made - since >= destroy_after
        if version.state == SecretVersion.State.ENABLED and not stays:
            yield DISABLE, version
        if version.state == SecretVersion.State.DISABLED and not stays and waited:
            yield DESTROY, version
        since = min(since, version.create_time.ToDatetime())
