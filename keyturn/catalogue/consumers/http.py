"""A consumer that receives notices by HTTP POST."""

from typing import Literal, Self

from pydantic import model_validator

from keyturn.settings.consumers import ConsumerBase
from keyturn.settings.fields import Line, WebUrl, keep_plain_http_at_home


class HttpSettings(ConsumerBase):
    """An application that is notified over HTTP and answers once it uses the new credential."""

    kind: Literal["http"] = "http"
    """The kind of consumer; by default, HTTP."""
    url: WebUrl
    """The application's address; plain http only on loopback, unless insecure_http is true."""
    ca_file: Line | None = None
    """A PEM file with the CA of its certificate, if it is not a public CA."""
    insecure_http: bool = False
    """Whether plain http to another machine is allowed. Messages hold no value, but others on the network can read and
    drop them."""

    ADAPTER = "keyturn.providers.http.webhook:WebhookSender"
    HEALTH = True

    @property
    def answers(self) -> bool:
        return True

    @model_validator(mode="after")
    def _plain_http_stays_at_home(self) -> Self:
        remedy = "Use https, or say insecure_http: true if the network between is trusted."
        keep_plain_http_at_home(self.url, self.insecure_http, remedy)
        return self
