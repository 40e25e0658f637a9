"""For how long a secret may be given without a new read."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from keyturn.client.secrets import Secret
from keyturn.core.text.path_patterns import covers

SHORTEST_FLOOR: Final = 600.0
"""The shortest time in seconds for which a newer version is required."""
LEASE_TTL: Final = 900.0
"""Default seconds for which a lease outlives a killed process."""


@dataclass(frozen=True)
class CachePolicy:
    """Times in seconds; ``ttl``, ``neg_ttl`` and ``resurrect_ttl`` as in Kong Gateway's secrets management.

    A random share up to ``jitter`` shortens ``ttl``, so that processes read at different times. After its share
    ``ahead``, and for ``revalidate_ttl`` after it, a lookup starts a background read. For ``resurrect_ttl`` after it,
    the secret is given if no source answers, with one attempt in ``retry_after``. An absence is believed for
    ``neg_ttl``.
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
        """Seconds for which no version older than a seen one is accepted."""
        return max(SHORTEST_FLOOR, 2 * self.ttl)

    def drawn_ttl(self, chance: float, secret: Secret) -> float:
        """Seconds to keep a secret, at most until it expires; ``chance`` is from 0 to 1."""
        ttl = self.ttl * (1 - self.jitter * chance)
        if secret.expires_at:
            ttl = min(ttl, max(0.0, (secret.expires_at - secret.read_at).total_seconds()))
        return ttl


class Policies:
    """Policies by path and pattern: the first match applies, otherwise ``default``.

    All paths cost one lookup, each pattern one check.
    """

    def __init__(self, policies: Mapping[str, CachePolicy], default: CachePolicy) -> None:
        self._policies = dict(policies)
        self._default = default
        self._places = {name: place for place, name in enumerate(policies)}
        self._patterns = [name for name in policies if "*" in name]

    def of(self, path: str) -> CachePolicy:
        """The policy of a path."""
        fitting = [name for name in self._patterns if covers(name, path)]
        if path in self._policies:
            fitting.append(path)
        return self._policies[min(fitting, key=self._places.__getitem__)] if fitting else self._default


RESTRICTED: Final = CachePolicy(resurrect_ttl=0.0)
"""For secrets that may not be given without a source's confirmation."""
