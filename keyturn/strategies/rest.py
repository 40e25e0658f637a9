"""The common part of strategies over a REST API: requests that the catalogue describes, and the list of keys."""

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Self

from pydantic import AfterValidator, Field, model_validator

from keyturn.core.errors import CandidateRejected, Invalid, KeyturnError, Unavailable
from keyturn.core.ports.rest import Answer, AnswerPattern, Listing, Request, RestApi, parse_moment
from keyturn.core.ports.strategies import RevokeResult
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.core.text import statements, templates
from keyturn.core.text.suggest import advice
from keyturn.settings.fields import Duration, Line, refused
from keyturn.settings.requests import (
    COUNTERS,
    Answers,
    Deletes,
    LastUsedSettings,
    ListSettings,
    RequestSettings,
    ShortName,
    check_names,
)
from keyturn.strategies.base import StrategyBase, StrategySettings

ABSENT: Final = AnswerPattern(frozenset({404, 410}))
"""The answer for a missing key."""
UNAUTHORIZED: Final = AnswerPattern(frozenset({401}))
"""The answer that refuses a key by default. 403 does not: a working key may lack a permission."""
OBJECTING: Final = frozenset({400, 401, 403, 409, 422})
"""The statuses by which an API rejects what it was given, for any reason."""


@dataclass(frozen=True)
class Deletion:
    """A request that deletes a key, or makes ready for that; ``gone`` are the answers for what is already done."""

    request: Request
    gone: Sequence[AnswerPattern] = (ABSENT,)


@dataclass(frozen=True)
class KeyRequests:
    """The requests to the API; ``delete`` are sent in order, all of them by each run.

    ``constants`` are texts for all requests, ``holds`` are texts that CURRENT must have.
    """

    create: Request
    delete: Sequence[Deletion]
    test: Request | None = None
    listing: Listing | None = None
    listed_use: str | None = None
    last_used: Request | None = None
    last_used_at: str = ""
    constants: Mapping[str, str] = field(default_factory=dict)
    holds: Mapping[str, str] = field(default_factory=dict)


class ApiStrategy(StrategyBase):
    """Credentials at a REST API; ``path`` is the secret's own, and ``constants`` are texts for all requests.

    ``holds`` are texts that CURRENT must have.
    """

    def __init__(self, api: RestApi, path: str, constants: Mapping[str, str], holds: Mapping[str, str]) -> None:
        self.api = api
        self.path = path
        self.constants = constants
        self.holds = holds

    def preflight(self, current: SecretFields | None, candidate: SecretFields | None) -> None:
        for name, text in self.holds.items() if current is not None else ():
            if current is not None and (name not in current or current[name].reveal() != text):
                problem = f"the secret's field {name} does not hold what the catalogue says under `holds`"
                hint = f"If it is the right credential, write that into {name}; else correct the catalogue"
                raise Invalid("rotate", f"{self.api.name}:{self.path}", problem, hint)

    def foreign(self, fields: SecretFields) -> str | None:
        """Return the field by which a version is another account's; a missing field does not count."""
        held = self.holds.items()
        return next((name for name, text in held if name in fields and fields[name].reveal() != text), None)

    def left_to_others(self, name: str) -> RevokeResult:
        remark = f"a key of another account ({name} is not what the catalogue says), which the secret held"
        return RevokeResult(outlives=(f"{remark}: end it there by hand",))

    def fields(self, values: Mapping[str, Any], current: SecretFields | None = None) -> SecretFields:
        serving = {f"current.{name}": value for name, value in (current or {}).items()}
        return SecretFields({**serving, **self.constants, "path": self.path, **values})


@dataclass
class KeyTest:
    """The request that tries a key, and what its answers mean.

    ``refused`` are the answers that prove a key dead; any other proves nothing. ``tries`` is how often a key is tried,
    once a second, that the API may not know yet. ``prepare`` makes the request's values from a version's, for each
    request anew.
    """

    api: RestApi
    request: Request
    refused: Sequence[AnswerPattern] = (UNAUTHORIZED,)
    tries: int = 1
    sleep: Callable[[float], None] = time.sleep
    prepare: Callable[[SecretFields], SecretFields] = lambda fields: fields

    def insist(self, fields: SecretFields) -> None:
        """Try a new key until the API accepts it. Raises CandidateRejected for a refusal, Invalid for other answers."""
        objecting = AnswerPattern(OBJECTING - self.request.expect)
        for last in (*[False] * (self.tries - 1), True):
            try:
                refusal = self.refusal(fields, (*self.refused, objecting))
            except Invalid:
                if last:
                    raise
            else:
                if refusal is None:
                    return
                if last:
                    raise self._rejected(refusal)
            self.sleep(1)

    def _rejected(self, refusal: int) -> CandidateRejected:
        hint = "Check `test`, and `patience` if a new key takes a while to be known; then run the rotation again"
        problem = f"it refuses the new key with {refusal}"
        return CandidateRejected("try the new key at", self.api.name, problem, hint)

    def refusal(self, fields: SecretFields, refusing: Sequence[AnswerPattern] = ()) -> int | None:
        """Return the status of a refusal; None where the API accepts the key. Raises Invalid for any other answer."""
        doing, refusing = "try the key at", refusing or self.refused
        answer = self.api.call(
            self.request, self.prepare(fields), doing, as_admin=False, at_test_url=True, also=refusing
        )
        if any(pattern.matches(answer) for pattern in refusing):
            return answer.status
        if not answer.is_json and answer.status not in self.request.expect - {200}:
            problem = f"answered {answer.status} without JSON, which neither accepts nor refuses the key"
            raise Invalid(doing, self.api.name, problem, "Choose a request for `test` that is answered with JSON")
        return None


class RestStrategy(ApiStrategy):
    """Keys that are made and deleted by requests."""

    def __init__(self, api: RestApi, path: str, requests: KeyRequests) -> None:
        super().__init__(api, path, requests.constants, requests.holds)
        self.requests = requests

    @property
    def reports_use(self) -> bool:  # type: ignore[override]  # by its settings
        return self.requests.listed_use is not None or self.requests.last_used is not None

    def entries(self, doing: str) -> Sequence[Answer]:
        listing = self.requests.listing
        return self.api.listed(listing, self.fields({}), doing) if listing else ()

    def entry_id(self, entry: Answer, pointer: str, doing: str) -> Sensitive:
        """Return the id in an entry of the list. Raises Invalid where it has none."""
        key_id = entry.text(pointer)
        if key_id is None:
            problem, hint = "its list has an entry without an id", "Correct `id` under `list`, in the catalogue"
            raise Invalid(doing, self.api.name, problem, hint)
        return key_id

    def remove(self, fields: SecretFields, before_sending: Callable[[], None] | None = None) -> bool:
        """Send each request of ``delete``, and return whether any of them found something to do."""
        done = [self._delete_step(step, fields, before_sending) for step in self.requests.delete]
        return any(done)

    def _delete_step(self, step: Deletion, fields: SecretFields, before_sending: Callable[[], None] | None) -> bool:
        call = self.api.call
        answer = call(step.request, fields, "delete a key at", also=step.gone, before_sending=before_sending)
        return not any(pattern.matches(answer) for pattern in step.gone)

    def still_there(self, *, deleted: bool) -> KeyturnError:
        doing, name = "delete a key at", self.api.name
        if not deleted:
            problem = "it answers that the key is absent, and lists it still"
            return Invalid(doing, name, problem, "Correct the path under `delete`")
        hint = "If its list keeps ended keys, describe the others with `in_force` under `list`; else delete it by hand"
        return Unavailable(doing, name, "it answers that the key is deleted, and lists it still", hint)

    def used_since(self, since: datetime, entry: Answer | None, fields: SecretFields) -> Sequence[str]:
        """Report a key's use after ``since``, from its list entry, or from a request for it."""
        requests = self.requests
        if entry is not None and requests.listed_use is not None:
            return self._told(entry, requests.listed_use, since)
        if requests.last_used is None:
            return ()
        answer = self.api.call(requests.last_used, fields, "look up the last use of a key at", also=(ABSENT,))
        return () if ABSENT.matches(answer) else self._told(answer, requests.last_used_at, since)

    def _told(self, answer: Answer, pointer: str, since: datetime) -> Sequence[str]:
        if answer.is_null(pointer):
            return ()
        text = answer.text(pointer)
        at = parse_moment(text.reveal()) if text else None
        if at is None:
            hint = "Point to RFC 3339, or to seconds or milliseconds since 1970"
            raise Invalid("look up the last use of a key at", self.api.name, "its answer is not a time", hint)
        return (
            (f"{self.api.name}: the old key was used at {at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC",)
            if at > since
            else ()
        )


# --- in the catalogue --------------------------------------------------------------------------------------


def _constants(constants: dict[str, str]) -> dict[str, str]:
    taken = sorted({"path", "unique", "next", *COUNTERS} & constants.keys())
    if taken:
        raise refused(f"the name {taken[0]} has a meaning already", "Choose another name for this constant.")
    return constants


class ApiSettings(StrategySettings):
    """What the strategies over a REST API share."""

    targets = frozenset({"http-api"})

    target: Line
    """The name of the API."""
    constants: Annotated[dict[ShortName, Line], AfterValidator(_constants)] = Field(default_factory=dict)
    """Texts for the requests, by name, such as an account's number that several paths contain."""
    holds: dict[ShortName, Line] = Field(default_factory=dict)
    """Fields that the secret must hold with these texts, or else it is another account's and is left alone."""


class TrySettings(RequestSettings):
    """A request that only the new key's holder may make."""

    patience: Duration = timedelta(0)
    """How long the API may take to know of a key that it has made or deleted."""
    refused: Answers = ()
    """Kinds of answer that refuse a key, and so prove it dead; without them, 401."""

    @model_validator(mode="after")
    def _shows_whether_a_key_works(self) -> Self:
        if any(not 200 <= status < 500 or 300 <= status < 400 for status in self.statuses):
            raise refused("a redirect or an error of the server never accepts a key", "Leave it out.", "expect")
        plain = {status for answer in self.refused if answer.when is None for status in answer.status or ()}
        plain |= set() if self.refused else {401}
        if both := sorted(plain & self.statuses):
            remedy = "Leave it out of expect, or say under refused: what the answer to a dead key holds."
            raise refused(f"{both[0]} can't both accept and refuse a key", remedy, "expect")
        return self

    def key_test(self, api: RestApi) -> KeyTest:
        tries = 1 + int(self.patience.total_seconds())
        return KeyTest(api, self.request("GET"), patterns(self.refused) or (UNAUTHORIZED,), tries)


class RestSettings(ApiSettings):
    """What the strategies whose keys are made and deleted share."""

    create: RequestSettings
    """The request that makes a key (POST)."""
    delete: Deletes
    """The request that deletes a key (DELETE), after which the list must not have the key."""
    last_used: LastUsedSettings | None = None
    """The request that shows when a key was used last (GET), where its list does not."""
    in_emergency: dict[ShortName, Line] = Field(default_factory=dict)
    """Other texts for constants of `create` where a revocation makes the replacement, such as a narrower scope."""

    @model_validator(mode="after")
    def _emergency_changes_create_alone(self) -> Self:
        if unknown := sorted(self.in_emergency.keys() - self.constants.keys()):
            remedy = advice(unknown[0], self.constants, "Declare it under constants, with what it is otherwise.")
            raise refused(f"no constant is called {unknown[0]}", remedy, "in_emergency")
        if shared := sorted(self.in_emergency.keys() & self._names_besides_create()):
            message = f"{shared[0]} is used in requests other than create, which have to find the key again"
            raise refused(message, "Give create its own constant for it.", "in_emergency")
        return self

    @model_validator(mode="after")
    def _constants_fit_into_sql(self) -> Self:
        for request in (*self._requests_besides_create(), self.create):
            for place, name, quoted in request.statement_places():
                texts = (values[name] for values in (self.constants, self.in_emergency) if name in values)
                if not all(statements.fits_statement(text, quoted=quoted) for text in texts):
                    problem = f"{place} puts {name} into an SQL statement, which that text may change"
                    remedy = (
                        "Use letters, digits and _, or write the name in quotes: then . : / @ = + $ - are allowed too."
                    )
                    raise refused(problem, remedy, "constants")
        return self

    def _requests_besides_create(self) -> Iterator[RequestSettings]:
        yield from (value for key, value in self if key != "create" and isinstance(value, RequestSettings))
        yield from self.delete

    def _names_besides_create(self) -> set[str]:
        others = list(self._requests_besides_create())
        where = [text for request in others for text in getattr(request, "where", {}).values()]
        return {name for request in others for name in request.names} | {
            name for text in where for name in templates.names(text)
        }

    def for_emergency(self) -> Self:
        return self.model_copy(update={"constants": self.constants | self.in_emergency}) if self.in_emergency else self

    def check_shared_names(self, listing: ListSettings | None, key_names: Collection[str]) -> None:
        names = {*self.constants, "path"}
        check_names(self.delete, "delete", {*names, *key_names}, "admin.")
        check_names(self.last_used, "last_used", {*names, *key_names}, "admin.")
        check_names(listing, "list", names, "admin.")

    def key_requests(self, test: RequestSettings | None, listing: ListSettings | None) -> KeyRequests:
        return KeyRequests(
            self.create.request("POST"),
            [Deletion(step.request("DELETE"), patterns(step.gone) or (ABSENT,)) for step in self.delete],
            test.request("GET") if test else None,
            listing.listing if listing else None,
            listing.last_used if listing else None,
            self.last_used.request("GET") if self.last_used else None,
            self.last_used.at if self.last_used else "",
            self.constants,
            self.holds,
        )


def patterns(answers: Answers) -> tuple[AnswerPattern, ...]:
    return tuple(answer.pattern for answer in answers)
