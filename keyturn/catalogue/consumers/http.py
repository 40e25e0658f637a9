"""An application that is told by a POST to an address of its own."""

from typing import Literal, Self

from pydantic import model_validator

from keyturn.settings.consumers import ConsumerBase
from keyturn.settings.fields import Line, WebUrl, keep_plain_http_at_home


class HttpSettings(ConsumerBase):
    """An application that is told over HTTP, and answers once it uses the new credential."""

    kind: Literal["http"] = "http"
    """Which way it is told: without it, by a POST to its address."""
    url: WebUrl
    """The application's address; plain http is allowed on loopback only, unless insecure_http is true."""
    ca_file: Line | None = None
    """A PEM file with the CA of its certificate, where it is not a public one."""
    insecure_http: bool = False
    """Allow plain http to another machine: messages hold no value, yet anybody between can read and drop them."""

    ADAPTER = "keyturn.providers.http.webhook:WebhookSender"
    HEALTH = True

    @property
    def answers(self) -> bool:
        """It does, by status 200."""
        return True

    @model_validator(mode="after")
    def _plain_http_stays_at_home(self) -> Self:
        remedy = "Use https, or say insecure_http: true if the network between is trusted."
        keep_plain_http_at_home(self.url, self.insecure_http, remedy)
        return self
