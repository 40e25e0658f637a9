"""What a store refuses before any call."""

from collections.abc import Set
from dataclasses import dataclass

from keyturn.core.errors import Conflict, Invalid, UnsupportedOperation
from keyturn.core.fingerprint import vouches
from keyturn.core.ports.stores import NO_DETAILS, Detail, Details, OwnershipTags, RemoteSecret
from keyturn.core.sensitive import Sensitive
from keyturn.core.store_limits import Limits


@dataclass(frozen=True)
class StoreLimits:
    limits: Limits
    store: str

    def check_name(self, remote: str, doing: str) -> None:
        if problem := self.limits.refuses_name(remote):
            hint = "Choose another remote name in the catalogue"
            raise Invalid(doing, f"{self.store}:{remote}", problem, hint)

    def check(self, remote: str, value: Sensitive) -> None:
        self.check_name(remote, "write")
        try:
            problem = self.limits.refuses_size(len(value.reveal().encode()))
        except UnicodeEncodeError:
            problem = "it holds what is no character"
        if problem:
            raise Invalid("write", f"{self.store}:{remote}", problem, "Nothing was written")


def only_written_whole(name: str) -> UnsupportedOperation:
    return UnsupportedOperation("label", name, "what is next to a copy is written with it", "Write the copy")


def insist_on_value(name: str, copy: RemoteSecret, marks: OwnershipTags) -> None:
    """Raises UnsupportedOperation unless the copy holds Keyturn's own value with the text of ``marks``."""
    if not copy.intact or copy.marks is None or not vouches(copy.marks.fingerprint, marks.fingerprint):
        raise UnsupportedOperation("label", name, "it does not serve this text as Keyturn wrote it", "Write the copy")


def has_changed(name: str) -> Conflict:
    return Conflict("label", name, "it has changed since it was looked at", "Run it again")


def unfulfilled(details: Details, shown: RemoteSecret, takes: Set[Detail]) -> Set[Detail]:
    return details.differing(shown.details or NO_DETAILS) & takes
