"""The client for asyncio, which reads in threads."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

from keyturn.client import open_leases
from keyturn.client.client import SecretClient
from keyturn.client.credentials import Credential
from keyturn.client.policy import LEASE_TTL
from keyturn.client.secrets import Secret
from keyturn.core.notifications.notices import Notice
from keyturn.core.sensitive import Sensitive


class AsyncSecretClient:
    """Uses ``client``, which other threads may use too. Raises the client's errors."""

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
        """Several secrets; missing ones are read in as few calls as possible."""
        return await asyncio.to_thread(self.client.get_many, [*paths])

    async def refresh(self, path: str) -> Secret:
        """Read the secret now."""
        return await asyncio.to_thread(self.client.refresh, path)

    async def warm(self, paths: Iterable[str]) -> None:
        """Read all of these in advance."""
        await asyncio.to_thread(self.client.warm, [*paths])

    @asynccontextmanager
    async def lease(
        self,
        path: str,
        *,
        ttl: float | None = LEASE_TTL,
        replaced: bool = True,
        on_change: Callable[[Credential], object] | None = None,
    ) -> AsyncIterator[Credential]:
        """A credential for this process, revoked after the block. A thread calls ``on_change``."""
        open_leases.end_tidily()
        taking = asyncio.ensure_future(
            asyncio.to_thread(self.client.lease, path, ttl=ttl, replaced=replaced, on_change=on_change)
        )
        try:
            credential = await asyncio.shield(taking)
        except asyncio.CancelledError:
            taking.add_done_callback(_give_back)
            raise
        try:
            yield credential
        finally:
            await asyncio.shield(asyncio.to_thread(credential.close))

    async def told(self, notice: Notice) -> None:
        """Take a notice."""
        await asyncio.to_thread(self.client.told, notice)


def _give_back(taking: asyncio.Future[Credential]) -> None:
    """Revoke a credential that arrived after its caller was cancelled."""
    if not taking.cancelled() and taking.exception() is None:
        threading.Thread(target=taking.result().close, name="keyturn-lease").start()
