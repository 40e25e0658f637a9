"""What has no target: random values, and keys that an application signs with."""

from collections.abc import Iterator

from keyturn.core.sensitive import SecretFields
from tests.crash.kinds.base import Kind, declared
from tests.crash.site import Site
from tests.strategies.jwts import passes, published, signed, strategy
from tests.support.lab import Declared


class Generated(Kind):
    """No target at all."""

    name = "generated"
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
    modules = ("keys",)
    changes = frozenset({"private_key", "kid", "algorithm", "jwks"})
    version = 3

    def make(self, site: Site) -> Declared:
        secret = declared(site, strategy().mint(None), {"strategy": "signing-key"})
        first = {**secret.first, "issuer": secret.path}
        return secret
