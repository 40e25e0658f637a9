"""Routes of `keyturn proxy`: services that programs call with a credential that they never hold."""

import re
from datetime import timedelta
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from keyturn.core.text import templates
from keyturn.settings.api_logins import TokenSettings
from keyturn.settings.fields import (
    NAME,
    SECRET_PATH,
    Line,
    Model,
    PositiveDuration,
    WebUrl,
    illegal_secret,
    keep_plain_http_at_home,
    matching,
    refused,
)
from keyturn.settings.requests import HeaderName, Pointer, ShortName

VALUE: Final = "value"
"""The name of the credential in a template."""
IDENTITY: Final = "identity"
"""The name of the workload's own token in a request."""
_PATTERN: Final = re.compile(r"/[A-Za-z0-9._~!$&'()+,=:@/*-]*")

AllowedMethod = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


def _path_pattern(text: str) -> str:
    parts = text.split("/")[1:]
    if not _PATTERN.fullmatch(text) or {".", ".."} & set(parts) or "" in parts[:-1]:
        raise refused("is no pattern of paths", "Begin with /, such as /chat/completions, /files/* or /models/**.")
    if any("**" in part and part != "**" for part in parts):
        raise refused("** is combined with other text", "Write it alone between slashes: /files/**.")
    return text


def _secret(path: str) -> str:
    if flaw := illegal_secret(path):
        raise refused(*flaw)
    return path


def _template(text: str) -> str:
    if not templates.is_sound(text) or set(templates.names(text)) != {VALUE}:
        raise refused("does not hold {{value}} alone", "Write {{value}} where the credential belongs.")
    if not text.isascii():
        raise refused("a header holds ASCII alone", "Write it in ASCII.")
    return text


RoutePattern = Annotated[str, AfterValidator(_path_pattern), WithJsonSchema({"type": "string", "pattern": "^/"})]
RouteSecret = Annotated[str, AfterValidator(_secret), WithJsonSchema({"type": "string", "pattern": SECRET_PATH})]
HeaderTemplate = Annotated[Line, AfterValidator(_template)]
CallerName = Annotated[
    str,
    matching(NAME, "is no name of a caller", "Use letters, digits, _ and -."),
    WithJsonSchema({"type": "string", "pattern": NAME}),
]


class AllowedRequests(Model):
    """Requests that a route passes on: one of the methods, at one of the paths."""

    methods: Annotated[tuple[AllowedMethod, ...], Field(min_length=1)] = ("GET",)
    """The methods."""
    paths: Annotated[tuple[RoutePattern, ...], Field(min_length=1)]
    """The paths below the route's url: * is any text within one part of a path, ** any number of parts."""


class CredentialPlace(Model):
    """The header that carries the credential. It is never part of the address."""

    header: HeaderName = "authorization"
    """The header's name."""
    template: HeaderTemplate = "Bearer {{value}}"
    """The header's text, with {{value}} for the credential."""
    basic_user: Line | None = None
    """The user name of basic authentication, with the credential as the password; instead of header and template."""

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if self.basic_user is None:
            return self
        if ":" in self.basic_user:
            raise refused("a user name of basic authentication has no colon", "Remove it.", "basic_user")
        if "template" in self.model_fields_set or "header" in self.model_fields_set:
            remedy = "Write basic_user, or header and template."
            raise refused("says twice how the credential is sent", remedy, "basic_user")
        return self


class IdentitySettings(Model):
    """A workload identity: the service gives a short-lived token for it, so that no key is stored anywhere."""

    recipe: ShortName | None = None
    """The identity recipe that exchange, credential and headers were filled in from."""
    token_file: Line
    """The file with the workload's own signed token (a JWT), such as a projected Kubernetes token. It is read again for
    each exchange."""
    exchange: TokenSettings
    """The request that exchanges {{identity}}, the workload's token, for a token of the service."""
    ca_file: Line | None = None
    """A PEM file with the CA of the exchange's certificate, if it is not a public CA."""
    credential: CredentialPlace = Field(default_factory=CredentialPlace)
    """The header that carries the service's token; by default `Authorization: Bearer`."""
    headers: dict[HeaderName, Line] = Field(default_factory=dict)
    """Further headers of each request to the service."""

    @model_validator(mode="after")
    def _sends_the_identity_in_private(self) -> Self:
        if self.exchange.names != {IDENTITY}:
            remedy = "Put {{identity}} into its form, its body or a header, and no other name."
            raise refused("the request must hold {{identity}} alone", remedy, "exchange")
        keep_plain_http_at_home(self.exchange.url, False, "Use https.")
        return self


class DailyBudget(Model):
    """What one caller may use in a day (UTC), as the service counts it in its answers."""

    most: Annotated[int, Field(ge=1)]
    """The sum at which further requests are refused."""
    usage: Annotated[tuple[Pointer, ...], Field(min_length=1)] = ("/usage/total_tokens",)
    """The numbers in the JSON of an answer, or of its events, that are added up. An answer without any of them counts
    a quarter of its bytes."""


class RouteLimits(Model):
    """Limits of each caller."""

    requests_per_minute: Annotated[int, Field(ge=1)] | None = None
    """Requests in a minute; unlimited by default."""
    request_bytes: Annotated[int, Field(ge=0)] = 64 * 2**20
    """Bytes of one request's body."""
    bytes_per_day: Annotated[int, Field(ge=1)] | None = None
    """Bytes of bodies in both directions in a day (UTC); unlimited by default."""
    budget: DailyBudget | None = None
    """A daily budget by the service's own count."""


class RouteSettings(Model):
    """A service that programs call through `keyturn proxy`, which adds the credential."""

    secret: RouteSecret | None = None
    """The secret whose field is the credential. With identity, it is the key that the identity replaces, and is not
    used."""
    identity: IdentitySettings | None = None
    """A workload identity to use instead of a stored key."""
    field: Line = "value"
    """The field of the secret."""
    url: WebUrl
    """The service's base URL; plain http only on loopback, unless insecure_http is true."""
    ca_file: Line | None = None
    """A PEM file with the CA of its certificate, if it is not a public CA."""
    insecure_http: bool = False
    """Whether plain http to another machine is allowed. The credential is then sent unencrypted."""
    allow: Annotated[tuple[AllowedRequests, ...], Field(min_length=1)]
    """The requests that are passed on; all others are refused."""
    credential: CredentialPlace = Field(default_factory=CredentialPlace)
    """The header that carries the credential; by default `Authorization: Bearer`."""
    callers: tuple[CallerName, ...] = ()
    """Callers with a placeholder in a file of this name."""
    users: tuple[Line, ...] = ()
    """Users of this machine whose programs may call without a placeholder, through the Unix socket."""
    limits: RouteLimits = Field(default_factory=RouteLimits)
    """Limits of each caller."""
    after_revocation: Literal["continue", "refuse"] = "continue"
    """After a revocation: `continue` with the replacement, or `refuse` requests until the proxy is restarted."""
    answer_within: PositiveDuration = timedelta(minutes=10)
    """The longest wait for the beginning of an answer, and between two pieces of it."""
    longest: PositiveDuration = timedelta(hours=1)
    """The longest time of one request."""
    decoy: RouteSecret | None = None
    """A decoy: a placeholder of this route that is shown anywhere else is reported as an attempt to read it."""

    @model_validator(mode="after")
    def _reachable_and_safe(self) -> Self:
        remedy = "Use https, or say insecure_http: true if the network between is trusted."
        keep_plain_http_at_home(self.url, self.insecure_http, remedy)
        if not self.callers and not self.users:
            raise refused("no one may use this route", "Name its callers, or users of this machine.")
        if self.secret is None and self.identity is None:
            raise refused("there is no credential", "Name a secret, or an identity.", "secret")
        if self.identity and (same := {"credential", "field"} & self.model_fields_set):
            problem = "it belongs to a stored key, and this route has an identity"
            raise refused(problem, "Remove it; an identity has its own credential.", min(same))
        return self
