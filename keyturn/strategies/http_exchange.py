"""Tokens of a REST API that are exchanged for their successor: the old one dies with the request.

A token that was exchanged already is never sent again without proof: some APIs then revoke every successor too. So the
API has to accept CURRENT directly before, and where an earlier run may have exchanged it, for as long as it may take to
know (docs/decisions/075-a-token-is-exchanged-on-proof.md).
"""

import hashlib
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Final, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from keyturn.core.errors import CandidateRejected, CredentialLost, Invalid, NothingMade, Unavailable
from keyturn.core.ports.rest import Answer, AnswerPattern, Request, RestApi, parse_moment, shortfall
from keyturn.core.ports.strategies import EXPIRES_AT, Change, RevokeResult
from keyturn.core.sensitive import SecretFields
from keyturn.core.text import templates
from keyturn.settings.fields import refused
from keyturn.settings.requests import Answers, Pointer, RequestSettings, ShortName, check_names
from keyturn.strategies.base import Tools
from keyturn.strategies.database_users import is_true
from keyturn.strategies.http_api_key import rfc3339
from keyturn.strategies.rest import (
    ABSENT,
    OBJECTING,
    UNAUTHORIZED,
    ApiSettings,
    ApiStrategy,
    KeyTest,
    TrySettings,
    patterns,
)
from keyturn.strategies.two_slots import SHORTEST, WINDOW, Freshness

CURRENT: Final = "current."
DOING: Final = "exchange the token at"
REFUSING: Final = AnswerPattern(OBJECTING | ABSENT.statuses)
"""The answers that certainly exchanged nothing."""
GAP: Final = "the old token dies with the exchange, before consumers have read the new one"


@dataclass(frozen=True)
class ExchangeRequests:
    """``answer`` and ``recovered`` have a pointer for each field, in the answers to ``exchange`` and ``recover``.

    ``exchanged`` are the fields that ``exchange`` uses up, ``tokens`` all that grant access.
    """

    exchange: Request
    answer: Mapping[str, str]
    exchanged: frozenset[str]
    tokens: frozenset[str]
    recover: Request | None
    recovered: Mapping[str, str]
    revoke: Request | None
    gone: Sequence[AnswerPattern]

    def as_admin(self, request: Request) -> bool:
        """Whether the admin sends it; a token's own holder does where it holds the token and nothing of the admin."""
        names = request.names
        held = {name.removeprefix(CURRENT) for name in names} & self.tokens
        return not held or any(name.startswith("admin.") for name in names)


class HttpExchange(ApiStrategy):
    """A token that is replaced by its successor, in one request that ends it."""

    mints_at_target = True
    overlaps = False

    def __init__(
        self,
        api: RestApi,
        path: str,
        requests: ExchangeRequests,
        test: KeyTest,
        constants: Mapping[str, str],
        holds: Mapping[str, str],
        clock: Callable[[], datetime],
    ) -> None:
        super().__init__(api, path, constants, holds)
        self.requests = requests
        self.test = test
        self.clock = clock
        self.window = WINDOW
        self.credential_fields = frozenset(requests.answer)
        self._resumed = False

    @property
    def _proves(self) -> bool:
        """Whether `test` tries what `exchange` uses up, and so shows whether it was exchanged."""
        return bool(self.requests.exchanged & self.test.request.names)

    def preflight(self, current: SecretFields | None, candidate: SecretFields | None) -> None:
        super().preflight(current, candidate)
        if candidate is not None or self.requests.recover is not None:
            return
        if current is None or not self._whole(current):
            fields = ", ".join(sorted(self.requests.exchanged))
            problem = f"the secret holds no {fields} to exchange, and the catalogue describes no `recover`"
            raise self._invalid(problem, f"Make a token by hand, and write it into {fields}")
        if self._known_dead(current):
            problem = "the API refuses CURRENT: it was revoked, has expired, or was exchanged elsewhere"
            raise self._invalid(problem, "Make a token by hand and write it into the secret, or describe `recover`")

    def existing_ids(self) -> Sequence[str]:
        self._resumed = False
        return ()

    def remove_orphans(self, before: Sequence[str], credentials: Sequence[SecretFields]) -> None:
        """Remove nothing, as no one knows a successor whose answer was lost. CURRENT may have been exchanged."""
        self._resumed = True

    def mint(self, current: SecretFields | None) -> SecretFields:
        """Exchange CURRENT, or let the admin make a token where the API refuses it.

        Raises CredentialLost where CURRENT may have been exchanged and nothing can recover it, and NothingMade where
        the API refuses the exchange.
        """
        resumed, self._resumed = self._resumed, False
        if current is not None and self._whole(current) and (not resumed or self._stays_accepted(current)):
            window = Freshness(self.window, DOING, self._named, "the API accepted CURRENT")
            if not self._known_dead(current):
                try:
                    return self._exchange(current, window)
                except NothingMade:
                    if self._proves or self.requests.recover is None:
                        raise
        return self._recover(current)

    def _known_dead(self, current: SecretFields) -> bool:
        """Whether the API refuses CURRENT. A token next to the exchanged one shows nothing once it has expired."""
        if not self._proves and (self._expired(current) or not self._tried(current)):
            return False
        return self.test.refusal(self.fields(current, current)) is not None

    def _stays_accepted(self, current: SecretFields) -> bool:
        """Whether the API accepts CURRENT for as long as it may take to know that it was exchanged."""
        if not self._proves:
            return False
        for _ in range(self.test.tries - 1):
            if self.test.refusal(self.fields(current, current)) is not None:
                return False
            self.test.sleep(1)
        return True

    def _exchange(self, current: SecretFields, window: Freshness) -> SecretFields:
        request = self.requests.exchange
        answer = self.api.call(
            request,
            self.fields({"unique": secrets.token_hex(6)}, current),
            DOING,
            as_admin=self.requests.as_admin(request),
            also=(AnswerPattern(request.statuses), AnswerPattern(REFUSING.statuses - request.statuses)),
            before_sending=window.insist,
        )
        if answer.status not in request.statuses:
            problem = f"answered {answer.status}, and so exchanged nothing"
            raise NothingMade(DOING, self.api.name, problem, "Compare `exchange` with the API's documentation")
        return self._read(answer, request, self.requests.answer, "answer")

    def _recover(self, current: SecretFields | None) -> SecretFields:
        request = self.requests.recover
        if request is None:
            problem = "CURRENT was exchanged, or may have been, and the answer with its successor is lost"
            hint = f"Make a new token by hand and write it into the secret, then run `keyturn rotate {self.path} --now`"
            raise CredentialLost(DOING, self._named, problem, f"{hint}; or describe `recover` in the catalogue")
        doing = "recover a token at"
        answer = self.api.call(request, self.fields({"unique": secrets.token_hex(6)}, current), doing)
        return self._read(answer, request, self.requests.recovered, "answer of recover")

    def _read(self, answer: Answer, request: Request, pointers: Mapping[str, str], key: str) -> SecretFields:
        fields = {name: answer.text(pointer) for name, pointer in pointers.items()}
        if EXPIRES_AT in fields:
            fields[EXPIRES_AT] = rfc3339(fields[EXPIRES_AT])
        lacking = [pointers[name] for name, value in sorted(fields.items()) if value is None]
        lacks = shortfall(request, answer) or (f"and its answer lacks {', '.join(lacking)}" if lacking else "")
        if lacks:
            hint = f"The token in it is lost. Correct the pointers under `{key}` and `expect`, then run it again"
            raise Invalid(DOING, self.api.name, f"answered {answer.status} {lacks}", hint)
        return SecretFields(fields)

    def verify(self, change: Change) -> None:
        """Try the successor. Without `recover` it is the only token, so a refusal raises Unavailable and keeps it."""
        fields, doing = self.fields(change.candidate, change.current), "try the new token at"
        for last in (*[False] * (self.test.tries - 1), True):
            if (status := self.test.refusal(fields)) is None:
                return
            if not last:
                self.test.sleep(1)
        problem = f"it refuses the new token with {status}"
        if self.requests.recover is None:
            hint = "It is kept and tried again. If it is dead, make a token by hand and write it into the secret"
            raise Unavailable(doing, self.api.name, problem, hint)
        hint = "Check `test`, and `patience` if a new token is known late; then run the rotation again"
        raise CandidateRejected(doing, self.api.name, problem, hint)

    def abandon(self, change: Change) -> None:
        """End the candidate by its value, unless CURRENT holds it by now."""
        if not (change.current and self._digest(change.current) == self._digest(change.candidate)):
            self._end(change.candidate)

    def credential_id(self, current: SecretFields) -> Mapping[str, str]:
        """Return a digest of the exchanged token, unless it is so short that it could be guessed from that.

        It ended with the exchange.
        """
        is_long = max((len(current[name].reveal()) for name in self.requests.exchanged & current.keys()), default=0)
        return {"digest": self._digest(current)} if is_long >= SHORTEST and self._whole(current) else {}

    def revoke(self, credential: SecretFields, sequence: int) -> RevokeResult:
        if name := self.foreign(credential):
            return self.left_to_others(name)
        if not self._end(credential) and self.accepts(credential):
            remark = f"a token of {self.api.name}, as the catalogue describes no `revoke`: end it there by hand"
            return RevokeResult(outlives=(remark,))
        return RevokeResult()

    def accepts(self, credential: SecretFields) -> bool | None:
        """Whether `test` is accepted; None for a refusal of an expired token, next to which another may work."""
        if self.foreign(credential) or not self._tried(credential):
            return None
        if self.test.refusal(self.fields(credential, credential)) is None:
            return True
        return None if not self._proves and self._expired(credential) else False

    def _end(self, fields: SecretFields) -> bool:
        """End a version's token by its value. Return False where no request can."""
        request = self.requests.revoke
        if request is None or not all(fields.get(name) for name in request.names & self.requests.answer.keys()):
            return False
        as_admin = self.requests.as_admin(request)
        gone = self.requests.gone or ((ABSENT,) if as_admin else (ABSENT, UNAUTHORIZED))
        self.api.call(request, self.fields(fields, fields), "end a token at", as_admin=as_admin, also=gone)
        return True

    def _whole(self, fields: SecretFields) -> bool:
        return all(fields.get(name) for name in self.requests.exchanged)

    def _tried(self, fields: SecretFields) -> bool:
        values = self.fields(fields, fields)
        return all(values.get(name) for name in self.test.request.names)

    def _expired(self, fields: SecretFields) -> bool:
        at = parse_moment(fields[EXPIRES_AT].reveal()) if fields.get(EXPIRES_AT) else None
        return at is not None and at.astimezone(UTC) <= self.clock()

    def _digest(self, fields: SecretFields) -> str:
        values = (fields[name].reveal() if name in fields else "" for name in sorted(self.requests.exchanged))
        return hashlib.sha256("\0".join(values).encode()).hexdigest()

    @property
    def _named(self) -> str:
        return f"{self.api.name}:{self.path}"

    def _invalid(self, problem: str, hint: str) -> Invalid:
        return Invalid("rotate", self._named, problem, hint)


# --- in the catalogue --------------------------------------------------------------------------------------

Pointers = Annotated[dict[ShortName, Pointer], Field(min_length=1)]


class RecoverSettings(RequestSettings):
    """A request with which the admin makes a new token."""

    answer: dict[ShortName, Pointer] = Field(default_factory=dict)
    """Where its answer holds the secret's fields, if elsewhere than that to `exchange`."""


class EndSettings(RequestSettings):
    """A request that ends a token by its value."""

    gone: Answers = ()
    """Kinds of answer that mean that the token is dead; without them, 404 and 410, and 401 to the token itself."""


class HttpExchangeSettings(ApiSettings):
    """A token of a REST API that is exchanged for its successor: the old one dies with the request."""

    takes_back = False

    strategy: Literal["http-exchange"]
    """How the secret is replaced."""
    exchange: RequestSettings
    """The request that exchanges {{current.FIELD}} for its successor (POST)."""
    answer: Pointers
    """For each of the secret's fields, where the answer to `exchange` holds it, as a JSON pointer."""
    test: TrySettings
    """The request that tries a token (GET), which is sent without the target's own headers."""
    recover: RecoverSettings | None = None
    """The request with which the admin makes a new token where an answer was lost (POST)."""
    revoke: EndSettings | None = None
    """The request that ends a token by its value (POST)."""
    accepts_gap: Annotated[Literal[True] | None, BeforeValidator(is_true)] = None
    """True, once it is accepted that consumers are refused until they have read the new token."""

    @model_validator(mode="after")
    def _gap_is_known(self) -> Self:
        if self.accepts_gap is None:
            raise refused(GAP, "Say accepts_gap: true if they can bear that, or use http-api-key.", "accepts_gap")
        return self

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        names = {*self.constants, "path"}
        if taken := sorted({*self.constants, "path", "unique", "rotated_at"} & self.answer.keys()):
            raise refused(f"the name {taken[0]} has a meaning already", "Choose another name.", "answer")
        if twice := sorted(self.answer.keys() & self.holds.keys()):
            raise refused(f"{twice[0]} changes with each token", "Name a field that stays the same.", "holds")
        check_names(self.exchange, "exchange", {*names, "unique"}, "admin.", CURRENT)
        check_names(self.test, "test", {*names, *self.answer}, CURRENT)
        check_names(self.recover, "recover", {*names, "unique"}, "admin.", CURRENT)
        check_names(self.revoke, "revoke", {*names, *self.answer}, "admin.")
        if not self._exchanged:
            remedy = "Put {{current.FIELD}} into one of its headers: a field of answer."
            raise refused("the request does not use the token that it exchanges", remedy, "exchange")
        if not self._tried:
            raise refused("the request does not use the new token", "Put it into one of its headers.", "test")
        if self.recover and self.recover.answer and self.recover.answer.keys() != self.answer.keys():
            problem = "its answer has other fields than the answer to exchange"
            raise refused(problem, "Give each field of answer a pointer.", "recover")
        if self.revoke and not self.revoke.names & self.answer.keys():
            raise refused("the request does not name the token", "Put a field of answer into it.", "revoke")
        self._keep_out_of_paths({"exchange": self.exchange, "test": self.test, "revoke": self.revoke})
        return self

    def _keep_out_of_paths(self, requests: Mapping[str, RequestSettings | None]) -> None:
        for key, request in requests.items():
            places = {name.removeprefix(CURRENT) for name in templates.names(request.path)} if request else set()
            if places & self._tokens:
                problem = "a token in a path is in the logs of every server on the way"
                raise refused(problem, "Put it into a header or the body.", key)

    @property
    def _exchanged(self) -> frozenset[str]:
        used = (name.removeprefix(CURRENT) for name in self.exchange.names if name.startswith(CURRENT))
        return frozenset(used) & self.answer.keys() - {EXPIRES_AT}

    @property
    def _tried(self) -> Collection[str]:
        return self.test.names & self.answer.keys() - {EXPIRES_AT}

    @property
    def _tokens(self) -> frozenset[str]:
        return self._exchanged.union(self._tried)

    @property
    def declared_fields(self) -> frozenset[str]:
        return self._exchanged

    def open(self, path: str, tools: Tools) -> HttpExchange:
        api = tools.target(self.target)
        requests = ExchangeRequests(
            self.exchange.request("POST"),
            self.answer,
            self._exchanged,
            self._tokens,
            self.recover.request("POST") if self.recover else None,
            (self.recover.answer if self.recover else None) or self.answer,
            self.revoke.request("POST") if self.revoke else None,
            patterns(self.revoke.gone) if self.revoke else (),
        )
        return HttpExchange(api, path, requests, self.test.key_test(api), self.constants, self.holds, tools.clock)
