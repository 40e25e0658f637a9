"""``path#field``, a field of a secret on a command line, and consistent reads."""

from collections.abc import Mapping
from dataclasses import dataclass

from keyturn.client.client import SecretClient
from keyturn.client.secrets import Secret
from keyturn.client.watches import version_of
from keyturn.core.errors import Invalid, NotFound
from keyturn.core.sensitive import Sensitive
from keyturn.core.text.suggest import advice

Versions = Mapping[str, tuple[str, str]]
"""The version read of each secret; see :func:`keyturn.client.watches.version_of`."""


@dataclass(frozen=True)
class FieldReference:
    """A field of the secret at ``path``; without ``field`` its only one."""

    path: str
    field: str = ""

    @staticmethod
    def parse(text: str) -> "FieldReference":
        """Parse ``path#field`` or ``path``. Raises ValueError, which quotes nothing."""
        path, hash_sign, field = text.rpartition("#") if "#" in text else (text, "", "")
        if not path or (hash_sign and not field):
            raise ValueError("write PATH#FIELD, such as ml-training/database#password")
        return FieldReference(path, field)

    def of(self, secret: Secret) -> Sensitive:
        names = list(secret.fields)
        if self.field:
            if self.field not in secret.fields:
                hint = advice(self.field, names, "It has none")
                raise NotFound("read", self.path, f"it has no field {self.field}", hint)
            return secret.fields[self.field]
        if len(names) != 1:
            raise Invalid("read", self.path, f"it has {len(names)} fields", f"Say which: {self.path}#FIELD")
        return secret.fields[names[0]]


class Reading:
    """A consistent read of secrets, with a record of their versions.

    Its methods raise the client's errors.
    """

    def __init__(self, client: SecretClient) -> None:
        self._client = client
        self._secrets: dict[str, Secret] = {}

    def warm(self, paths: list[str]) -> None:
        self._secrets |= self._client.get_many([path for path in paths if path not in self._secrets])

    def secret(self, path: str) -> Secret:
        if path not in self._secrets:
            self._secrets[path] = self._client.get(path)
        return self._secrets[path]

    def field(self, reference: FieldReference) -> Sensitive:
        return reference.of(self.secret(reference.path))

    @property
    def fields(self) -> Mapping[str, list[str]]:
        return {path: sorted(secret.fields) for path, secret in self._secrets.items()}

    @property
    def versions(self) -> Versions:
        return {path: version_of(secret) for path, secret in self._secrets.items()}
