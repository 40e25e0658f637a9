"""Consumers behind a channel of Redis."""

from typing import Literal, Self

from pydantic import model_validator

from keyturn.catalogue.targets import Port
from keyturn.settings.consumers import ConsumerBase
from keyturn.settings.fields import HubPath, Line, refused


class RedisChannelSettings(ConsumerBase):
    """Subscribers of a channel of Redis or Valkey. They send no answer: only delivery to a subscriber is known."""

    kind: Literal["redis"]
    """The kind of consumer."""
    host: Line
    """The server's host name or address."""
    port: Port = 6379
    """The server's port."""
    channel: Line
    """The channel that the application subscribes to."""
    login: HubPath
    """The path in the hub's state mount, below webhooks/NAME/, with the publisher's username and password."""
    tls: bool = True
    """Whether to use TLS; false sends the password unencrypted."""
    ca_file: Line | None = None
    """A PEM file with the CA of the server's certificate."""

    ADAPTER = "keyturn.providers.redis.channel:RedisChannel"
    EXTRA = "redis"

    @model_validator(mode="after")
    def _login_of_its_own(self) -> Self:
        if self.login == self.signing_key:
            message = "the login is in the entry of the signing key, which the consumer may read"
            raise refused(message, f"Keep it in its own entry, such as {self.signing_key}/login.", "login")
        return self
