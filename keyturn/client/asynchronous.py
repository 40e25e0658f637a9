"""The same client for asyncio: what is kept is given at once, and what has to be read is read in a thread."""

import asyncio
from collections.abc import Iterable
from typing import Any

from keyturn.client.client import SecretClient
from keyturn.client.secrets import Secret
from keyturn.core.notices import Notice
from keyturn.core.sensitive import Sensitive


class AsyncSecretClient:
    """Asks ``client``, which other threads may ask beside it. Every method raises what its own raises."""

    def __init__(self, client: SecretClient) -> None:
        self.client = client

    async def get(self, path: str) -> Secret:
        """The secret, from memory where it is kept."""
        secret = self.client.kept(path)
        return await asyncio.to_thread(self.client.get, path) if secret is None else secret

    async def get_json(self, path: str) -> dict[str, Any]:
        """All fields in clear, with their JSON types."""
        return (await self.get(path)).fields.reveal()

    async def field(self, path: str, name: str) -> Sensitive:
        """One field."""
        return await asyncio.to_thread(self.client.field, path, name)

    async def get_many(self, paths: Iterable[str]) -> dict[str, Secret]:
        """Several secrets, those that are not kept in as few calls as their source allows."""
        return await asyncio.to_thread(self.client.get_many, [*paths])

    async def refresh(self, path: str) -> Secret:
        """Read it now, whatever is kept."""
        return await asyncio.to_thread(self.client.refresh, path)

    async def warm(self, paths: Iterable[str]) -> None:
        """Read all of these before they are asked for."""
        await asyncio.to_thread(self.client.warm, [*paths])

    async def told(self, notice: Notice) -> None:
        """Take a notice."""
        await asyncio.to_thread(self.client.told, notice)
