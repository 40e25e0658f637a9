"""A secret for anybody's flows: where it is, and never what it is."""

import asyncio
import re
from typing import TYPE_CHECKING, Any, Final

from prefect.blocks.core import Block
from pydantic import Field

from keyturn.core.errors import Invalid, KeyturnError, unexpected
from keyturn.core.sensitive import Sensitive

if TYPE_CHECKING:
    from keyturn.client.client import SecretClient
    from keyturn.client.secrets import Secret

HUB: Final = "hub"

_PATH: Final = re.compile(r"(?!(.*/)?\.{0,2}(/|$))[^?#%\\\x00-\x20\x7f]+")
"""No part of it is empty, ``.`` or ``..``, and nothing in it would end, resolve or decode an address."""


class KeyturnSecret(Block):
    """Names a secret, which each process reads for itself: with its own login, from sources of its own environment.

    Nothing of its value is in Prefect's database, and nothing in the block leads to another server. Whoever may change
    the block may have a flow read another secret that its process's login may read.
    """

    _block_type_name = "Keyturn Secret"
    _block_type_slug = "keyturn-secret"

    path: str = Field(description="The secret's path in the hub.", examples=["ml-training/database"])
    field: str = Field(default="", description="Which of its fields; empty where it has one alone.")
    source: str = Field(
        default="",
        description="hub, or a store's name in the process's catalogue; empty for what its KEYTURN_SOURCES names.",
    )

    def get(self) -> Sensitive:
        """The value, which refuses to be printed and stored; its ``reveal()`` gives it out.

        It is kept by the process's client, as long as its policy says. Raises what the client does, and Invalid where
        the secret has several fields and none is named.
        """
        return self._field_of(self.secret())

    async def aget(self) -> Sensitive:
        """The same, without holding up the loop."""
        return self._field_of(await self.asecret())

    def secret(self) -> "Secret":
        """All of its fields, of one version, with that and where it came from."""
        try:
            return self._client().get(self.path)
        except KeyturnError:
            raise
        except Exception as error:  # noqa: BLE001 - Prefect writes down what it says, and it may hold the value
            raise unexpected(error) from None

    async def asecret(self) -> "Secret":
        """The same, without holding up the loop."""
        return await asyncio.to_thread(self.secret)

    def _client(self) -> "SecretClient":
        from keyturn.wiring.process_client import process_client

        if not _PATH.fullmatch(self.path):
            problem = "it is no path of a secret"
            raise Invalid("read", repr(self.path[:100]), problem, "Write it as the catalogue and `keyturn get` do")
        if "/" in self.source:
            problem = "a block leads to no server"
            hint = f"Name {HUB}, or a store of the catalogue; addresses are the process's own, in KEYTURN_SOURCES"
            raise Invalid("read", self.path, problem, hint)
        return process_client(self.source)

    def _field_of(self, secret: Any) -> Sensitive:
        names = [*secret.fields]
        wanted = self.field or (names[0] if len(names) == 1 else "")
        if wanted not in names:
            problem = (
                f"it has no field {self.field}" if self.field else "it has several fields, and the block names none"
            )
            raise Invalid("read", self.path, problem, f"Name one of {', '.join(sorted(names))}")
        value: Sensitive = secret[wanted]
        return value
