"""Common parts of adapters that merge single keys into others' texts."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from keyturn.core.errors import Invalid
from keyturn.core.ports.merged_keys import Change, Shared, members_of
from keyturn.core.ports.stores import OwnershipTags
from keyturn.core.sensitive import Sensitive

MERGE: Final = "merge into"
NOTHING_WRITTEN: Final = "Nothing was written. Choose another name, or have its owner put an object there"


def shared_text(
    label: str,
    remote: str,
    version: str,
    text: Sensitive | None,
    tags: Mapping[str, str],
    marks: OwnershipTags | None,
    *,
    snapshot: Any = None,
) -> Shared:
    """Raises Invalid for a text that is no object."""
    try:
        members = members_of(text) if text is not None and marks is None else {}
    except ValueError as error:
        raise Invalid(MERGE, label, str(error), NOTHING_WRITTEN) from None
    return Shared(remote, version, members, text, tags, marks, seen=snapshot)


def checked_text(label: str, refuses: Callable[[int], str | None], change: Change, current: Shared | None) -> Sensitive:
    """Raises Invalid if the result is impossible or too large."""
    try:
        text = change.text(current.text if current else None)
        problem = refuses(len(text.reveal().encode())) if change or current is None else None
    except UnicodeEncodeError:
        problem = "it holds what is no character"
    except ValueError as error:
        raise Invalid(MERGE, label, str(error), NOTHING_WRITTEN) from None
    if problem:
        raise Invalid(MERGE, label, f"{problem}, with the keys of others", "Nothing was written")
    return text
