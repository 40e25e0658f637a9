"""What a store refuses before it calls anybody: the names and sizes of :mod:`keyturn.core.text.names`, as our errors.

And what it asks of a copy before something is changed beside it.
"""

from collections.abc import Set
from dataclasses import dataclass

from keyturn.core.errors import Conflict, Invalid, UnsupportedOperation
from keyturn.core.fingerprint import vouches
from keyturn.core.ports.stores import NO_DETAILS, Detail, Details, OwnershipTags, RemoteSecret
from keyturn.core.sensitive import Sensitive
from keyturn.core.text.names import Limits


@dataclass(frozen=True)
class StoreLimits:
    """What stores of this kind allow, told in the name of the one called ``store``."""

    limits: Limits
    store: str

    def check_name(self, remote: str, doing: str) -> None:
        """Raises Invalid for a name that can't be used."""
        if problem := self.limits.refuses_name(remote):
            hint = "Choose another remote name in the catalogue"
            raise Invalid(doing, f"{self.store}:{remote}", problem, hint)

    def check(self, remote: str, value: Sensitive) -> None:
        """Raises Invalid for a name or a value that can't be written: empty, too large, or no text in UTF-8."""
        self.check_name(remote, "write")
        try:
            problem = self.limits.refuses_size(len(value.reveal().encode()))
        except UnicodeEncodeError:
            problem = "it holds what is no character"
        if problem:
            raise Invalid("write", f"{self.store}:{remote}", problem, "Nothing was written")


def only_written_whole(name: str) -> UnsupportedOperation:
    """What is raised where nothing beside a copy can be changed without writing the copy."""
    return UnsupportedOperation("label", name, "what stands beside a copy is written with it", "Write the copy")


def insist_on_value(name: str, copy: RemoteSecret, marks: OwnershipTags) -> None:
    """Raises UnsupportedOperation unless the copy serves what Keyturn wrote, and that is the text of ``marks``.

    Else marks of ours would say of another's value that it is ours.
    """
    if not copy.intact or copy.marks is None or not vouches(copy.marks.fingerprint, marks.fingerprint):
        raise UnsupportedOperation("label", name, "it does not serve this text as Keyturn wrote it", "Write the copy")


def has_changed(name: str) -> Conflict:
    """What is raised where a copy is another one than was found."""
    return Conflict("label", name, "it has changed since it was looked at", "Run it again")


def unfulfilled(details: Details, shown: RemoteSecret, takes: Set[Detail]) -> Set[Detail]:
    """What of the ``details`` that a store ``takes`` is asked for and does not stand beside the copy."""
    return details.differing(shown.details or NO_DETAILS) & takes
