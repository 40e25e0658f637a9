"""A Prefect block that names a secret without its value."""

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
"""No component is empty, ``.`` or ``..``, and no character ends, resolves or decodes a URL."""


class KeyturnSecret(Block):
    """Names a secret that each process reads with its own login, from its own sources.

    Prefect's database contains no part of the value, and the block can't name another server. A user who may edit the
    block can select any secret that the process's login may read.
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
        """The value, which can't be printed or stored; ``reveal()`` returns the text.

        The process's client caches it as its policy states. Raises the client's errors, and Invalid if the block names
        no field of several.
        """
        return self._field_of(self.secret())

    async def aget(self) -> Sensitive:
        """The same, without blocking the event loop."""
        return self._field_of(await self.asecret())

    def secret(self) -> "Secret":
        """All fields of one version, with the version and source."""
        try:
            return self._client().get(self.path)
        except KeyturnError:
            raise
        except Exception as error:  # noqa: BLE001 - Prefect writes down what it says, and it may hold the value
            raise unexpected(error) from None

    async def asecret(self) -> "Secret":
        """The same, without blocking the event loop."""
        return await asyncio.to_thread(self.secret)

    def _client(self) -> "SecretClient":
        from keyturn.wiring.process_client import process_client

        if not _PATH.fullmatch(self.path):
            problem = "it is no path of a secret"
            raise Invalid("read", repr(self.path[:100]), problem, "Write it as the catalogue and `keyturn get` do")
        if "/" in self.source:
            problem = "a block points to no server"
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
