"""How an API is signed in to before its requests: by an OAuth token, or by a JWT that Keyturn signs."""

from collections.abc import Collection, Iterator
from datetime import timedelta
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from keyturn.core.ports.keys import JwsAlgorithm
from keyturn.core.ports.rest import Request
from keyturn.core.text import templates
from keyturn.core.text.suggest import advice
from keyturn.settings.choices import ByTag
from keyturn.settings.fields import Model, PositiveDuration, WebUrl, refused
from keyturn.settings.requests import MessageSettings, Pointer, Template

TOKEN: Final = "login.token"
TIMES: Final = frozenset({"iat", "exp"})
GRANT: Final = {"grant_type": "client_credentials"}


def _claims(claims: Any) -> Any:
    if not isinstance(claims, dict):
        raise refused("claims are a mapping", "Write indented `name: value` lines below it.")
    if taken := sorted(TIMES & claims.keys()):
        raise refused(f"Keyturn writes {taken[0]} itself", "Remove it, and set lifetime.")
    for text in templates.texts(claims):
        if not templates.is_sound(text):
            raise refused("holds braces without a name", "Write {{name}}: letters, digits, _ and -.")
    return claims


class JwtSettings(Model):
    """A JWT that Keyturn signs."""

    algorithm: JwsAlgorithm = "RS256"
    """How it is signed, in JWS's words; the private key must be of that kind."""
    header: dict[str, Template] = Field(default_factory=dict)
    """Further members of its header, such as kid."""
    claims: Annotated[Any, AfterValidator(_claims), WithJsonSchema({"type": "object"})]
    """Its claims, such as iss, sub and aud; iat and exp are added."""
    lifetime: PositiveDuration = timedelta(minutes=5)
    """How long it is valid; APIs allow 10 minutes to an hour."""

    def jwt_texts(self) -> Iterator[tuple[str, str]]:
        """Yield every text that may hold names, with its name in messages."""
        yield from ((f"its header {name}", text) for name, text in self.header.items())
        yield from (("its claims", text) for text in templates.texts(self.claims))


class TokenSettings(MessageSettings):
    """A request whose answer holds a token."""

    url: WebUrl
    """The whole address of the token request; https, except on this machine."""
    token: Pointer = "/access_token"
    """Where the answer holds the token, as a JSON pointer."""
    expires: Pointer = "/expires_in"
    """Where it holds the token's end: seconds from now, or a time. Without any, a token is used for five minutes."""

    def token_request(self) -> Request:
        return self.message("POST", "")


class ClientCredentialsSettings(TokenSettings):
    """A login by OAuth client credentials (RFC 6749, 4.4); grant_type is added to the form, or to the body."""

    kind: Literal["client-credentials"]
    """The kind of login."""

    def token_request(self) -> Request:
        if isinstance(self.body, dict):
            return self.model_copy(update={"body": {**GRANT, **self.body}}).message("POST", "")
        return self.model_copy(update={"form": {**GRANT, **(self.form or {})}}).message("POST", "")

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        _check(self.places(), set())
        return self

    def texts(self) -> Iterator[tuple[str, str]]:
        return self.places()

    def urls(self) -> tuple[str, ...]:
        return (self.url,)


class SignedJwtSettings(JwtSettings):
    """A login by a signed JWT, such as a GitHub App's or a Google service account's (RFC 7523)."""

    kind: Literal["signed-jwt"]
    """The kind of login."""
    key: Template = "{{admin.private_key}}"
    """The private key that signs, as PEM without a passphrase."""
    exchange: TokenSettings | None = None
    """The request that exchanges {{jwt}} for the token; without it, the JWT is the token."""

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        _check([*self.jwt_texts(), ("its key", self.key)], {"unique"})
        if self.exchange is not None:
            _check(self.exchange.places(), {"jwt"}, "exchange")
            if "jwt" not in self.exchange.names:
                raise refused(
                    "the request does not hold the token", "Put {{jwt}} into its form or a header.", "exchange"
                )
        return self

    def texts(self) -> Iterator[tuple[str, str]]:
        yield from (*self.jwt_texts(), ("its key", self.key))
        yield from self.exchange.places() if self.exchange else ()

    def urls(self) -> tuple[str, ...]:
        return (self.exchange.url,) if self.exchange else ()


def _check(places: Any, names: Collection[str], key: str = "") -> None:
    for place, text in places:
        for name in templates.names(text):
            if name not in names and not name.startswith("admin."):
                problem = f"{place} asks for {{{{{name}}}}}, which is not known there"
                raise refused(problem, advice(name, [*names, "admin.FIELD"], ""), key)


ApiLoginSettings = Annotated[ClientCredentialsSettings | SignedJwtSettings, ByTag("kind")]
