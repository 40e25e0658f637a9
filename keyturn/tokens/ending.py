"""Ends tokens at their services, and proves it: the service accepted the token before, and refuses it now."""

import hashlib
import re
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import repeat
from typing import Final

from keyturn.core.errors import Invalid, KeyturnError, Throttled, TransientError
from keyturn.core.ports.rest import RestApi
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.tokens.model import REFUSED, TOKEN, EndSettings, TokenFormat, numbered

AT_ONCE: Final = 8
ATTEMPTS: Final = 3
PAUSES: Final = (0.0, 1.0, 2.0, 4.0, 8.0)
"""Seconds before each attempt to see that a token has ended: some services end it in the background."""
LONGEST_PAUSE: Final = 20.0
"""Seconds that a service may ask to wait."""
BEFORE: Final = 10.0
"""Seconds in which tokens are tried before they are ended."""
SPLITS: Final = 25
"""How often refused batches are split: GitHub takes 60 requests an hour."""
AFTER: Final = 120.0
"""Seconds in which tokens are tried again after their end."""


class TokenResult(StrEnum):
    """What became of one token."""

    PROVEN = "ended and proven"
    ENDED = "ended, not proven"
    FAILED = "not ended"
    BY_HAND = "by hand"
    """No request ends it: a person has to."""
    CATALOGUE = "in the catalogue"
    """Left alone: `keyturn revoke` ends and replaces it."""
    UNKNOWN = "not recognised"


@dataclass(frozen=True)
class TokenOutcome:
    """What became of a token, and why, without its value."""

    result: TokenResult
    why: str = ""


@dataclass(frozen=True)
class LeakedToken:
    """A token that a format fits. ``line`` is where it was read; ``host`` is named by a person, or empty."""

    line: int
    value: Sensitive
    name: str
    format: TokenFormat = field(repr=False)
    host: str = ""

    @property
    def digest(self) -> str:
        """The SHA-256 of the token, which has too many possible values to be guessed."""
        return hashlib.sha256(self.value.reveal().encode()).hexdigest()

    @property
    def address(self) -> str:
        """The API that ends it; empty if a person has to."""
        return self.format.address(self.host) if self.format.end else ""

    def fields(self, at: int = 0) -> SecretFields:
        """The values of its requests' names, as number ``at`` of a batch."""
        groups = re.fullmatch(self.format.pattern, self.value.reveal())
        names = {**(groups.groupdict() if groups else {}), TOKEN: self.value.reveal()}
        return SecretFields({numbered(name, at): text for name, text in names.items()})


@dataclass(frozen=True)
class Trial:
    """Whether the service accepted a token; None if that is unknown, and then why."""

    accepted: bool | None
    why: str = ""


UNTRIED: Final = Trial(None, "no request tells whether it works")
SENT: Final = Trial(None)
"""The service takes a request to end a token without saying whether the token worked."""


class Killer:
    """Ends many tokens at once. ``connect`` opens the API at an address, and must keep each request to it."""

    def __init__(
        self,
        connect: Callable[[str], RestApi],
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._connect = connect
        self._monotonic = monotonic
        self._sleep = sleep
        self._splits = 0

    def kill(self, tokens: Sequence[LeakedToken]) -> Iterator[tuple[LeakedToken, TokenOutcome]]:
        """End tokens whose formats have an end, and yield what became of each. Services raise nothing."""
        batches = list(_batches(tokens))
        ordered = [token for batch in batches for token in batch]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            until = self._monotonic() + BEFORE
            before = list(pool.map(lambda token: self._try_before(token, until), ordered))
            ended = [end for ends in pool.map(self._end, batches) for end in ends]
            later = self._monotonic() + AFTER
            outcomes = pool.map(self._prove, ordered, before, ended, repeat(later))
            yield from zip(ordered, outcomes, strict=True)

    def _try_before(self, token: LeakedToken, until: float) -> Trial:
        """Try a token whose later refusal would prove nothing, unless its end itself says that it worked."""
        if not (ended_by(token).by == "value" and token.format.is_ambiguous) or self._monotonic() >= until:
            return SENT
        return self._try(token)

    def _end(self, batch: Sequence[LeakedToken]) -> list[Trial | KeyturnError]:
        """Send one batch. For each token: whether the service accepted it as a login, or why it was not ended."""
        try:
            return [self._send(batch)] * len(batch)
        except Invalid as error:
            if len(batch) == 1 or self._splits >= SPLITS:
                return [error] * len(batch)
            self._splits += 1
            half = len(batch) // 2  # one entry may be to blame
            return self._end(batch[:half]) + self._end(batch[half:])
        except KeyturnError as error:
            return [error] * len(batch)

    def _send(self, batch: Sequence[LeakedToken]) -> Trial:
        end, prove = ended_by(batch[0]), batch[0].format.prove
        request, fields = end.request_for(len(batch)), SecretFields({})
        for at, token in enumerate(batch):
            fields = fields.merged(token.fields(at))
        itself = end.by == "itself"
        refusing = tuple(settings.pattern for settings in end.already or ())
        if itself and not refusing:
            refusing = tuple(prove.patterns) if prove else REFUSED
        api = self._connect(batch[0].address)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                answer = api.call(request, fields, "end", as_admin=False, also=refusing)
            except TransientError as error:
                self._wait(error, attempt)
                continue
            if any(pattern.matches(answer) for pattern in refusing):
                # After a lost answer, the refusal is that of an ended token.
                return Trial(False) if attempt == 1 else SENT
            return Trial(True) if itself else SENT
        raise AssertionError("the last attempt raises or returns")

    def _wait(self, error: TransientError, attempt: int) -> None:
        """Wait before the next attempt. Raises the error after the last one, or if the wait would be long."""
        pause = (error.retry_after if isinstance(error, Throttled) else None) or float(attempt)
        if attempt == ATTEMPTS or pause > LONGEST_PAUSE:
            raise error
        self._sleep(pause)

    def _prove(self, token: LeakedToken, before: Trial, end: Trial | KeyturnError, until: float) -> TokenOutcome:
        if isinstance(end, KeyturnError):
            return TokenOutcome(TokenResult.FAILED, end.problem)
        host = token.address.partition("://")[2].partition("/")[0]
        accepted = end.accepted if before.accepted is None else before.accepted
        after = self._try_until_refused(token, until)
        if after.accepted:
            return TokenOutcome(TokenResult.FAILED, f"{host} took the request, and still accepts the token")
        if after.accepted is None:
            return TokenOutcome(TokenResult.ENDED, after.why)
        if accepted or not token.format.is_ambiguous:
            return TokenOutcome(
                TokenResult.PROVEN, f"{host} refused it already" if end.accepted is False else f"{host} refuses it"
            )
        if accepted is None:
            return TokenOutcome(
                TokenResult.ENDED, f"{host} refuses it, and it is unknown whether it worked there before"
            )
        elsewhere = token.format.elsewhere or f"another host of {token.format.service}"
        return TokenOutcome(TokenResult.FAILED, f"{host} refused it before: it had ended, or it belongs to {elsewhere}")

    def _try_until_refused(self, token: LeakedToken, until: float) -> Trial:
        trial = UNTRIED
        for pause in PAUSES:
            self._sleep(pause)
            trial = self._try(token)
            if trial.accepted is False or self._monotonic() >= until or trial == UNTRIED:
                return trial
        return trial

    def _try(self, token: LeakedToken) -> Trial:
        prove = token.format.prove
        if prove is None:
            return UNTRIED
        api = self._connect(token.format.address(token.host, prove.url))
        try:
            answer = api.call(prove.request("GET"), token.fields(), "try", as_admin=False, also=prove.patterns)
        except KeyturnError as error:
            return Trial(None, error.problem)
        return Trial(not any(pattern.matches(answer) for pattern in prove.patterns))


def ended_by(token: LeakedToken) -> EndSettings:
    """The request that ends a token. Raises LookupError if there is none."""
    if token.format.end is None:
        raise LookupError(f"no request ends tokens of the format {token.name}")
    return token.format.end


def _batches(tokens: Sequence[LeakedToken]) -> Iterator[Sequence[LeakedToken]]:
    """The tokens that one request can hold: those with the same address and request."""
    groups: dict[tuple[str, str], list[LeakedToken]] = {}
    for token in tokens:
        groups.setdefault((token.address, ended_by(token).model_dump_json()), []).append(token)
    for group in groups.values():
        size = ended_by(group[0]).batch
        yield from (group[at : at + size] for at in range(0, len(group), size))
