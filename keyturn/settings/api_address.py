"""Where the requests of a REST API go, and how they are signed in: for targets and for stores."""

from datetime import timedelta
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from keyturn.core.text import templates
from keyturn.settings.api_logins import TOKEN, ApiLoginSettings
from keyturn.settings.fields import Line, Model, PositiveDuration, WebUrl, keep_plain_http_at_home, refused
from keyturn.settings.requests import Headers


def _of_the_admin(headers: dict[str, str]) -> dict[str, str]:
    for header, text in headers.items():
        for name in templates.names(text):
            if not name.startswith("admin.") and name != TOKEN:
                message = f"the header {header} asks for {{{{{name}}}}}, which is not known there"
                remedy = "Write {{admin.FIELD}}, a field of the admin credential, or {{login.token}}."
                raise refused(message, remedy)
    return headers


class ApiAddress(Model):
    """The address of an API, and its login."""

    url: WebUrl
    """The API's address; plain http only on loopback, unless insecure_http is true."""
    headers: Annotated[Headers, AfterValidator(_of_the_admin)] = Field(default_factory=dict)
    """Headers of every admin request, such as authorization: "Bearer {{admin.token}}"."""
    login: ApiLoginSettings | None = None
    """How to get {{login.token}} for these headers: by OAuth client credentials, or by a signed JWT."""
    ca_file: Line | None = None
    """A PEM file with the CAs of the certificates, if they are not public CAs."""
    timeout: PositiveDuration = timedelta(seconds=10)
    """The timeout of a connection, and of each part of an answer."""
    insecure_http: bool = False
    """Whether plain http to another machine is allowed. Others on the network can read the values."""

    @model_validator(mode="after")
    def _plain_http_stays_at_home(self) -> Self:
        remedy = "Use https, or set insecure_http: true if no one can be in between."
        keep_plain_http_at_home(self.url, self.insecure_http, remedy)
        for url in self.login.urls() if self.login else ():
            keep_plain_http_at_home(url, False, "Use https: this address gets a credential.", "login")
        return self

    @model_validator(mode="after")
    def _login_is_used(self) -> Self:
        used = TOKEN in {name for text in self.headers.values() for name in templates.names(text)}
        if used and self.login is None:
            raise refused("a header asks for {{login.token}}, and there is no login", "Describe login.", "headers")
        if self.login is not None and not used:
            remedy = 'Write authorization: "Bearer {{login.token}}" under headers.'
            raise refused("no header uses the token", remedy, "login")
        return self

    @property
    def admin_fields(self) -> frozenset[str]:
        texts = [*self.headers.values(), *(text for _, text in (self.login.texts() if self.login else ()))]
        names = {name for text in texts for name in templates.names(text)}
        return frozenset(name.removeprefix("admin.") for name in names if name.startswith("admin."))
