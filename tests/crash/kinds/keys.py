"""What has no target: random values, and keys that an application signs with."""

from collections.abc import Iterator

from keyturn.core.sensitive import SecretFields
from tests.crash.kinds.base import Kind, declared
from tests.crash.site import Site
from tests.strategies.jwts import passes, published, signed, strategy
from tests.support.lab import Declared, fresh


class Generated(Kind):
    """No target at all."""

    name = "generated"
    refuses = False
    changes = frozenset({"value"})

    def make(self, site: Site) -> Declared:
        return site.lab.generated()

    def works(self, site: Site, fields: SecretFields) -> bool:
        return bool(fields["value"])

    def left(self, site: Site, secret: Declared, current: SecretFields) -> Iterator[str]:
        if current["value"].reveal() == secret.first["value"]:
            yield "the value is the old one"


class SigningKeys(Kind):
    """Tokens signed by one version, verified by the JWK Set of CURRENT: retiring takes the old key out of it."""

    name = "signing-key"
    modules = ("keys.key_maker",)
    changes = frozenset({"private_key", "kid", "algorithm", "jwks"})
    version = 3

    def make(self, site: Site) -> Declared:
        path = f"tests/{fresh()}"
        first = strategy().mint(None).merged({"issuer": path})
        return declared(site, first, {"strategy": "signing-key"}, path)

    def works(self, site: Site, fields: SecretFields) -> bool:
        known = self._current(site, fields["issuer"].reveal())
        return known is not None and passes(signed(fields), known)

    def left(self, site: Site, secret: Declared, current: SecretFields) -> Iterator[str]:
        yield from super().left(site, secret, current)
        if [key["kid"] for key in published(current)] != [current["kid"].reveal()]:
            yield f"{len(published(current))} keys are published"

    def _current(self, site: Site, path: str) -> SecretFields | None:
        """What verifiers have fetched by now; None where nothing is published any more."""
        found = site.lab.hub.read(path)
        return found.fields if found else None
