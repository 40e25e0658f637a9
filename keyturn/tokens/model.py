"""The model of a token's format: how it looks, who issues it, how to end it and how to see that it has ended."""

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from keyturn.core.hosts import HostPattern
from keyturn.core.ports.rest import AnswerPattern, Request
from keyturn.core.text import templates
from keyturn.settings.fields import Line, Model, refused
from keyturn.settings.requests import Answers, RequestSettings

TOKEN: Final = "token"
HOST: Final = "{{host}}"
"""Takes the place of the host in the address of a service that people run themselves."""

BASE62: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
REFUSED: Final = (AnswerPattern(frozenset({401})),)


def _pattern(text: str) -> str:
    try:
        expression = re.compile(text)
    except re.error:
        raise refused("is not a regular expression", "Correct it.") from None
    if TOKEN in expression.groupindex:
        raise refused("names a group token", "Choose another name: token is the whole.")
    return text


def _address(text: str) -> str:
    parts = urlsplit(text)
    whole = parts.scheme == "https" and parts.netloc and not (parts.query or parts.fragment or text.endswith("/"))
    if not whole or "@" in parts.netloc or (templates.names(text) and parts.netloc != HOST):
        raise refused("is not the https address of an API", "Write https://HOST/PATH, or {{host}} as the host.")
    return text


def _host_pattern(text: str) -> str:
    try:
        HostPattern.parse(text)
    except ValueError:
        raise refused("is no pattern of hosts", "Write a name, or *.example.com.") from None
    return text


Address = Annotated[str, AfterValidator(_address)]


class EndSettings(RequestSettings):
    """The request that ends a token."""

    by: Literal["value", "itself"]
    """`value`: the service needs no login. `itself`: the token is the login that ends it."""
    batch: Annotated[int, Field(ge=1, le=1000)] = 1
    """How many tokens one request may hold; the list with {{token}} in the body then has one entry for each."""
    already: Answers | None = None
    """The answers that mean that the token had ended before; by itself, those that `prove` takes for a refusal."""

    @model_validator(mode="after")
    def _sends_the_token(self) -> Self:
        if not self.names:
            raise refused("holds no {{token}}", "Write where the request carries the token.", "path")
        return self

    def request_for(self, count: int) -> Request:
        """The request for several tokens: {{token}}, and {{token1}}, {{token2}} and so on after it."""
        request = self.request("POST")
        return replace(request, body=_repeated(request.body, count)) if count > 1 else request


class ProveSettings(RequestSettings):
    """A request that only a token in force may make."""

    url: Address | None = None
    """The address, if it is another one than that of `end`."""
    refused: Answers | None = None
    """The answers that mean that the token has ended; without them, 401."""

    @property
    def patterns(self) -> Sequence[AnswerPattern]:
        return tuple(settings.pattern for settings in self.refused) if self.refused else REFUSED


class HandSettings(Model):
    """What a person does where no request ends a token, or where the request fails."""

    page: Line | None = None
    """The address of the service's own page."""
    steps: Annotated[tuple[Line, ...], Field(min_length=1)]
    """What to do there."""


class TokenSource(Model):
    """A document that the format was written from."""

    document: Line
    checked: date
    seen: Literal["documentation", "source code", "memory"]
    """`memory` means that no document was read."""


class TokenFormat(Model):
    """One kind of token of one service."""

    title: Line
    """The service's own name of the token."""
    service: Line
    pattern: Annotated[Line, AfterValidator(_pattern)]
    """Matches the whole token. Named groups can be used in requests, as {{NAME}}."""
    named_only: bool = False
    """The pattern also matches other services' tokens, so the format counts only where a person names it."""
    checksum: Literal["github"] | None = None
    """`github`: the last six characters are the CRC32 of the 30 before them, in base 62."""
    url: Address | None = None
    """The API's address. With {{host}} as its host, a person names the host."""
    hosts: tuple[Annotated[Line, AfterValidator(_host_pattern)], ...] = ()
    """The hosts that a person may name, if the service has its own domain."""
    elsewhere: Line | None = None
    """Other servers whose tokens look the same, so that a refusal alone proves nothing."""
    end: EndSettings | None = None
    prove: ProveSettings | None = None
    by_hand: HandSettings
    notes: tuple[Line, ...] = ()
    """What a person should know before ending it."""
    sources: Annotated[tuple[TokenSource, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if (self.end or self.prove) and self.url is None:
            raise refused("has a request, and no address", "Add url: https://HOST.", "url")
        if self.prove and not self.end:
            raise refused("nothing is proven without an end", "Add end:, or remove prove:.", "prove")
        if self.hosts and not self.asks_host:
            raise refused("the address has a host of its own", "Remove hosts:.", "hosts")
        names = {TOKEN, *re.compile(self.pattern).groupindex}
        requests = [request for request in (self.end, self.prove) if request]
        if unknown := sorted({name for request in requests for name in request.names} - names):
            raise refused(f"asks for {{{{{unknown[0]}}}}}, which the pattern lacks", "Name a group of it so.", "end")
        return self

    @property
    def asks_host(self) -> bool:
        """Whether a person has to name the host."""
        return self.url is not None and HOST in self.url

    @property
    def is_ambiguous(self) -> bool:
        """Whether a server that refuses the token may just not be the token's own."""
        return self.asks_host or self.elsewhere is not None

    @property
    def newest(self) -> date:
        """The day on which the newest source was read."""
        return max(source.checked for source in self.sources)

    def address(self, host: str, url: str | None = None) -> str:
        return (url or self.url or "").replace(HOST, host)

    def allows(self, host: str) -> bool:
        """Whether a person may name this host."""
        name, _, port = host.partition(":")
        return not self.hosts or any(HostPattern.parse(each).covers(name, int(port or 443)) for each in self.hosts)


def _repeated(data: Any, count: int) -> Any:
    """A body whose list of one {{token}} has ``count`` of them."""
    if isinstance(data, dict):
        return {key: _repeated(inner, count) for key, inner in data.items()}
    if isinstance(data, list) and len(data) == 1 and TOKEN in templates.names(str(data[0])):
        return [_numbered_names(data[0], at) for at in range(count)]
    return data


def _numbered_names(data: Any, at: int) -> Any:
    return templates.fill_all(data, lambda name: f"{{{{{numbered(name, at)}}}}}")


def numbered(name: str, at: int) -> str:
    """The name of a field of token ``at`` in a batch."""
    return f"{name}{at}" if at else name


@dataclass(frozen=True)
class Recognition:
    """``name`` is empty where no format fits; ``why`` then says why."""

    name: str = ""
    why: str = ""


def checksum_of(text: str) -> str:
    """The last six characters of a token, as GitHub and npm make them."""
    number, digits = zlib.crc32(text[-36:-6].encode()), ""
    while number:
        number, digit = divmod(number, len(BASE62))
        digits = BASE62[digit] + digits
    return digits.rjust(6, "0")
