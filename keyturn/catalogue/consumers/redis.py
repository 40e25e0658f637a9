"""Applications that are told by a channel of Redis."""

from typing import Literal, Self

from pydantic import model_validator

from keyturn.catalogue.targets import Port
from keyturn.settings.consumers import ConsumerBase
from keyturn.settings.fields import HubPath, Line, refused


class RedisChannelSettings(ConsumerBase):
    """Applications that listen on a channel of a Redis or Valkey. They answer nobody: somebody was listening."""

    kind: Literal["redis"]
    """Which way it is told."""
    host: Line
    """The server's host name or address."""
    port: Port = 6379
    """The server's port."""
    channel: Line
    """The channel that the application has subscribed to."""
    login: HubPath
    """The path in the hub's state mount, below webhooks/NAME/, that holds username and password of who publishes."""
    tls: bool = True
    """Whether to speak TLS; false sends the password in clear."""
    ca_file: Line | None = None
    """A PEM file with the CA that signed the server's certificate."""

    ADAPTER = "keyturn.providers.redis.channel:RedisChannel"
    EXTRA = "redis"

    @model_validator(mode="after")
    def _login_of_its_own(self) -> Self:
        if self.login == self.signing_key:
            message = "the login lies in the entry of the signing key, which the consumer may read"
            raise refused(message, f"Keep it in an entry of its own, such as {self.signing_key}/login.", "login")
        return self
