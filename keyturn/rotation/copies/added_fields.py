"""Copies that keep their values and get only the fields that they lack: ``update: add-fields``."""

from dataclasses import dataclass, replace
from datetime import datetime

from keyturn.catalogue.destinations import Destination, Update
from keyturn.core.errors import Conflict, Invalid
from keyturn.core.fingerprint import vouches
from keyturn.core.ports.stores import OwnershipTags, RemoteSecret
from keyturn.core.sensitive import Sensitive
from keyturn.core.text.mapping import with_missing
from keyturn.core.text.references import Unfit
from keyturn.rotation.state.context import Workspace

KEEPS = "add-fields: it keeps what it has"


@dataclass(frozen=True)
class Grown:
    """The new text of such a copy, its marks, and the names of the added fields.

    The marks name the version of its oldest possible value, so that a revocation finds it, and the version of the last
    comparison, so that it is not repeated.
    """

    text: Sensitive
    marks: OwnershipTags
    added: tuple[str, ...]

    @property
    def under_a_new_name(self) -> OwnershipTags:
        """The marks after a rename, which renumbers versions: none is older than the first."""
        return replace(self.marks, version=1, created_at=None) if self.marks.grown else self.marks

    @property
    def why(self) -> str:
        """For people."""
        return (
            f"add-fields: it lacks {', '.join(self.added)}"
            if self.added
            else "add-fields: it lacks nothing, and is marked so"
        )


def keeps(destination: Destination, copy: RemoteSecret, version: int, created_at: datetime | None) -> bool:
    """Whether the marks prove that a copy has every field of this version, without a read."""
    if destination.update is not Update.ADD_FIELDS or copy.marks is None or copy.outdated:
        return False
    return copy.marks.shape == destination.shape.added_from(version, created_at)


def grown(
    workspace: Workspace, destination: Destination, copy: RemoteSecret, text: Sensitive, marks: OwnershipTags
) -> Grown:
    """The new text of an intact copy of ours, with the fields that it lacks from CURRENT's ``text``.

    Raises Conflict where its value doesn't match its marks, Invalid where no field can be added.
    """
    held = workspace.open_copy(marks.source, destination).read(destination.name)
    there = copy.marks
    if there is None or not vouches(there.fingerprint, workspace.fingerprint_of(there.source, held)):
        problem = "its contents do not match its marks, so it is unknown what to keep"
        raise Conflict(
            "add to", destination.label, problem, "Find what writes there; once it is deleted it is made again"
        )
    try:
        whole, added = with_missing(held, text)
    except Unfit as error:
        hint = "Say create-only or replace, or delete the copy, so that it is made again; nothing was written"
        raise Invalid("add to", destination.label, str(error), hint) from None
    digest = workspace.fingerprint_of(marks.source, whole)
    if digest == marks.fingerprint:
        return Grown(whole, marks, added)  # it is a plain copy of CURRENT then
    shape = destination.shape.added_from(marks.version, marks.created_at)
    oldest = replace(marks, version=there.version, created_at=there.created_at)
    return Grown(whole, replace(oldest, fingerprint=digest, shape=shape), added)
