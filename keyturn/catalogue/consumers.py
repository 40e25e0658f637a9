"""The consumers: applications that are told when a secret of theirs changes."""

from datetime import timedelta
from typing import Self

from pydantic import model_validator

from keyturn.settings.fields import HubPath, Line, Model, PositiveDuration, WebUrl, keep_plain_http_at_home


class ConsumerSettings(Model):
    """An application that is told when a secret of its own changes."""

    url: WebUrl
    """The application's address; plain http is allowed on loopback only, unless insecure_http is true."""
    signing_key: HubPath
    """The path in the hub's state mount whose field `key` signs the messages."""
    timeout: PositiveDuration = timedelta(seconds=5)
    """How long to wait for its answer."""
    ca_file: Line | None = None
    """A PEM file with the CA of its certificate, where it is not a public one."""
    insecure_http: bool = False
    """Allow plain http to another machine: messages hold no value, yet anybody between can read and drop them."""

    @model_validator(mode="after")
    def _plain_http_stays_at_home(self) -> Self:
        remedy = "Use https, or say insecure_http: true if the network between is trusted."
        keep_plain_http_at_home(self.url, self.insecure_http, remedy)
        return self
