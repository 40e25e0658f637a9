"""For how long a secret may be given without being read again."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from keyturn.client.secrets import Secret
from keyturn.core.text.path_patterns import covers

SHORTEST_FLOOR: Final = 600.0
"""Seconds for which a newer version that was seen or promised is insisted on, at least."""
LEASE_TTL: Final = 900.0
"""Seconds for which a lease outlives a process that was killed, unless it is told otherwise."""


@dataclass(frozen=True)
class CachePolicy:
    """Times in seconds; ``ttl``, ``neg_ttl`` and ``resurrect_ttl`` as in Kong Gateway's secrets management.

    ``ttl`` is shortened by a share of it up to ``jitter``, by chance, so that many processes don't read at once. After
    the share ``ahead`` of it, whoever asks gets what is kept, and it is read again meanwhile. For ``revalidate_ttl``
    after it the same is done; for ``resurrect_ttl`` after it what is kept is given if no source answers, who are then
    asked once in ``retry_after``. That something is not there is believed for ``neg_ttl``.
    """

    ttl: float = 3600.0
    jitter: float = 0.1
    ahead: float = 0.8
    neg_ttl: float = 5.0
    revalidate_ttl: float = 0.0
    resurrect_ttl: float = 86_400.0
    retry_after: float = 5.0

    @property
    def floor_ttl(self) -> float:
        """For how long no older version than one that was seen is taken."""
        return max(SHORTEST_FLOOR, 2 * self.ttl)

    def drawn_ttl(self, chance: float, secret: Secret) -> float:
        """How long this one is kept; ``chance`` is from 0 to 1. No longer than the credential itself holds."""
        ttl = self.ttl * (1 - self.jitter * chance)
        if secret.expires_at:
            ttl = min(ttl, max(0.0, (secret.expires_at - secret.read_at).total_seconds()))
        return ttl


class Policies:
    """Policies by paths and patterns, in their order: the first that fits holds, and ``default`` where none does.

    Thousands of paths cost a lookup, patterns a look at each.
    """

    def __init__(self, policies: Mapping[str, CachePolicy], default: CachePolicy) -> None:
        self._policies = dict(policies)
        self._default = default
        self._places = {name: place for place, name in enumerate(policies)}
        self._patterns = [name for name in policies if "*" in name]

    def of(self, path: str) -> CachePolicy:
        """The one that holds for this path."""
        fitting = [name for name in self._patterns if covers(name, path)]
        if path in self._policies:
            fitting.append(path)
        return self._policies[min(fitting, key=self._places.__getitem__)] if fitting else self._default


RESTRICTED: Final = CachePolicy(resurrect_ttl=0.0)
"""For what may not be given while nobody can say whether it still holds."""
