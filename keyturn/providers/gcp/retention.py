"""Selects old versions to disable or destroy."""

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
    """Actions for these raw messages, newest first, all older than ``added``.

    Its predecessor and ``latest`` stay, because readers may still receive either (source: "Resource consistency").
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
