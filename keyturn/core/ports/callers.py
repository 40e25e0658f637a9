"""Who asks on behalf of nobody but itself: what a login of somebody else may read, as the hub says it."""

from dataclasses import dataclass
from typing import Protocol

from keyturn.core.sensitive import Sensitive


@dataclass(frozen=True)
class Permit:
    """A login may read a secret.

    ``lasts`` is for how many seconds it can be believed at most: None for as long as one likes, 0 for this once.
    ``networks`` are the addresses that the login may be used from, in CIDR notation; empty for any.
    """

    lasts: float | None = None
    networks: tuple[str, ...] = ()


class CallersPort(Protocol):
    """Asks the hub about logins of others."""

    def permit(self, token: Sensitive, path: str) -> Permit:
        """Raises Denied where the hub lets this token not read that secret, and what the hub raises else.

        A secret that is not there may be read by whoever could read it.
        """
