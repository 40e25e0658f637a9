"""API keys of any REST API that makes, tries and deletes them as the catalogue describes."""

import re
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from keyturn.core.errors import Invalid, KeyturnError, UnsupportedOperation
from keyturn.core.ports.rest import Answer, AnswerPattern, RestApi, parse_moment, shortfall
from keyturn.core.ports.strategies import EXPIRES_AT, NO_CREDENTIAL, Change, RevokeResult, Shadow
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.core.text import templates
from keyturn.core.text.passwords import PasswordPolicy, generate
from keyturn.settings.dates import DateSettings
from keyturn.settings.durations import show
from keyturn.settings.fields import refused
from keyturn.settings.passwords import PasswordSettings
from keyturn.settings.requests import ListSettings, Pointer, ShortName, Template, check_names
from keyturn.strategies.base import Tools, no_place
from keyturn.strategies.rest import KeyRequests, KeyTest, RestSettings, RestStrategy, TrySettings

MOST_KEYS: Final = 100
"""How many names of keys a record holds while a new one is made."""

UNIQUE: Final = "[0-9A-Fa-f]{12}"
"""What ``{{unique}}`` becomes: other characters for each key. Databases show an unquoted name in capitals."""


@dataclass(frozen=True)
class KeyFields:
    """The places of values in answers: ``answer`` has a pointer for each field of a new key, ``id`` is the field of its
    id.

    ``listed_id`` and ``where`` are for the list. An entry is this secret's own where its texts match all of ``where``.
    """

    answer: Mapping[str, str]
    id: str
    listed_id: str = ""
    where: Mapping[str, str] = field(default_factory=dict)


class HttpApiKey(RestStrategy):
    """A new key next to the old one, which is deleted later by its id.

    ``limit`` is the maximum number of keys. ``generated`` are fields whose values are made here and sent with the
    request that makes a key. ``dates`` are further values for that request, by name.
    """

    mints_at_target = True

    def __init__(
        self,
        api: RestApi,
        path: str,
        requests: KeyRequests,
        keys: KeyFields,
        test: KeyTest,
        limit: int | None = None,
        generated: Mapping[str, PasswordPolicy] | None = None,
        dates: Callable[[], Mapping[str, str | int]] = dict,
    ) -> None:
        super().__init__(api, path, requests)
        self.keys = keys
        self.test = test
        self.limit = limit
        self.generated = dict(generated or {})
        self.dates = dates
        self.credential_fields = frozenset(keys.answer) | self.generated.keys()

    def preflight(self, current: SecretFields | None, candidate: SecretFields | None) -> None:
        super().preflight(current, candidate)
        if current is not None and self.keys.id not in current and self.keys.answer.keys() & current.keys():
            problem = f"the secret has no field {self.keys.id}, so its key could never be deleted"
            hint = f"Write the id that the API lists for this key into the field {self.keys.id}"
            raise Invalid("rotate", f"{self.api.name}:{self.path}", problem, hint)
        if self.limit is None or candidate is not None:
            return
        if (count := len(self.entries("count the keys at"))) >= self.limit:
            problem = f"there are {count} keys, and no more than {self.limit} may be"
            raise Invalid("make a key at", self.api.name, problem, "Delete an unused one")

    def existing_ids(self) -> Sequence[str]:
        doing = "list the keys at"
        ids = [self._id(entry, doing) for entry in self.entries(doing) if self._is_own(entry)]
        if len(ids) > MOST_KEYS:
            problem = f"it lists {len(ids)} keys, and {MOST_KEYS} can be distinguished from a new one"
            hint = "Select this secret's own keys with `where` under `list`"
            raise Invalid("make a key at", self.api.name, problem, hint)
        return ids

    def mint(self, current: SecretFields | None) -> SecretFields:
        """Return a new key as the API answers it.

        Raises Invalid, and deletes the key, where the answer lacks a field.
        """
        doing, dates = "make a key at", self.dates()
        create = replace(self.requests.create, body=templates.replace_whole(self.requests.create.body, dates))
        values_made = {name: generate(policy) for name, policy in self.generated.items()}
        sent = {f"candidate.{name}": value for name, value in values_made.items()}
        unique = secrets.token_hex(6)
        values = self.fields({**dates, "unique": unique, **sent}, current)
        answer = self.api.call(create, values, doing, also=(AnswerPattern(create.statuses),))
        fields = {name: answer.text(pointer) for name, pointer in self.keys.answer.items()}
        if lacks := shortfall(create, answer):
            problem = f"answered {answer.status} {lacks}; {self._take_back(fields[self.keys.id])}"
            raise Invalid(doing, self.api.name, problem, "See the API's own log, and compare `expect` of `create`")
        if EXPIRES_AT in fields:
            fields[EXPIRES_AT] = rfc3339(fields[EXPIRES_AT])
        if lacking := sorted(name for name, value in fields.items() if value is None):
            problem = f"its answer lacks {', '.join(lacking)}; {self._take_back(fields[self.keys.id])}"
            raise Invalid(doing, self.api.name, problem, "Correct the pointers under `answer`, in the catalogue")
        self._remove_twins(unique, fields[self.keys.id])
        return SecretFields({**values_made, **fields})

    def _remove_twins(self, unique: str, made: Sensitive | None) -> None:
        """Delete the keys of the same request, which a proxy on the way may have sent twice."""
        if not any("unique" in templates.names(text) for text in self.keys.where.values()):
            return
        doing = "look for a second key of one request at"
        for entry in self.entries(doing):
            if self._is_own(entry, unique) and self._id(entry, doing) != (made.reveal() if made else ""):
                self._delete(Sensitive(self._id(entry, doing)))

    def _take_back(self, made: Sensitive | None) -> str:
        if made is None:
            return "the key that was made has no known id, so look for it at the API"
        try:
            self._delete(made)
        except KeyturnError as error:
            return f"the key that was made is not deleted either ({error.problem})"
        return "the key that was made is deleted again"

    def remove_orphans(self, before: Sequence[str], credentials: Sequence[SecretFields]) -> None:
        """Delete this secret's own keys that came since and that no version holds.

        A used key is spared: a key that a dead run left was never used.
        """
        doing = "look for keys that a dead run left at"
        listed = [
            self._id(entry, doing) for entry in self.entries(doing) if self._is_own(entry) and self._unused(entry)
        ]
        spared = {*before, *(fields[self.keys.id].reveal() for fields in credentials if self.keys.id in fields)}
        for made in listed:
            if made not in spared:
                self._delete(Sensitive(made))

    def _unused(self, entry: Answer) -> bool:
        return self.requests.listed_use is None or entry.is_null(self.requests.listed_use)

    def verify(self, change: Change) -> None:
        self.test.insist(self.fields(change.candidate, change.current))

    def credential_id(self, current: SecretFields) -> Mapping[str, str]:
        return {self.keys.id: current[self.keys.id].reveal()} if self.keys.id in current else {}

    def in_use(self, credential_id: Mapping[str, str], since: datetime) -> Sequence[str]:
        if self.keys.id not in credential_id:
            return ()
        entry = self._entry(credential_id[self.keys.id]) if self.requests.listed_use is not None else None
        return self.used_since(since, entry, self.fields(credential_id))

    def retire(self, credential_id: Mapping[str, str], sequence: int) -> None:
        if self.keys.id in credential_id:
            self._delete(Sensitive(credential_id[self.keys.id]))

    def revoke(self, credential: SecretFields, sequence: int) -> RevokeResult:
        if name := self.foreign(credential):
            return self.left_to_others(name)
        if credential.get(self.keys.id):
            self._delete(credential[self.keys.id])
        elif self.accepts(credential):
            remark = f"a key of {self.api.name} whose version has no field {self.keys.id}: delete it by hand"
            return RevokeResult(outlives=(remark,))
        return RevokeResult()

    def find_everything(self, spared: Sequence[SecretFields]) -> Iterator[str]:
        """Yield the ids of this secret's own keys.

        Raises UnsupportedOperation where the list does not show which these are.
        """
        if not self.selects_own:
            flaw = (
                "does not list its keys" if self.requests.listing is None else "does not select this secret's own keys"
            )
            raise no_place(f"{self.api.name} {flaw} (`where` under `list`, with {{{{path}}}})")
        serving = {fields[self.keys.id].reveal() for fields in spared if self.keys.id in fields}
        doing = "look for this secret's keys at"
        listed = (self._id(entry, doing) for entry in self.entries(doing) if self._is_own(entry))
        yield from (made for made in listed if made not in serving)

    @property
    def selects_own(self) -> bool:
        """Whether the list shows which keys are this secret's."""
        return any("path" in templates.names(text) for text in self.keys.where.values())

    def shadow(self, name: str) -> Shadow:
        """Return a further key, which the API lists under the shadow's name."""
        if not self.selects_own or self.requests.listing is None:
            problem = "its API does not list whose a key is, so a killed rehearsal could leave one"
            raise UnsupportedOperation("rehearse", self.api.name, problem, "Select own keys with `where` under `list`")
        strategy = copy(self)
        strategy.path = name.replace("_", "-")

        def clear() -> None:
            for made in strategy.find_everything(()):
                strategy.revoke_found(made, 0)

        return Shadow(strategy, clear, needs_fields=True)

    def revoke_found(self, name: str, sequence: int) -> RevokeResult:
        self._delete(Sensitive(name))
        return RevokeResult()

    def accepts(self, credential: SecretFields) -> bool | None:
        fields = self.fields(credential, credential)
        if self.foreign(credential) or not all(fields.get(name) for name in self.test.request.names):
            return None
        return self.test.refusal(fields) is None

    def _delete(self, made: Sensitive) -> None:
        """Delete one key, and check that the list no longer has it. A missing key is success."""
        deleted = self.remove(self.fields({self.keys.id: made}))
        for _ in range(self.test.tries - 1 if deleted else 0):
            if self._entry(made.reveal()) is None:
                return
            self.test.sleep(1)
        if self._entry(made.reveal()) is not None:
            raise self.still_there(deleted=deleted)

    def _entry(self, made: str) -> Answer | None:
        listed = self.entries("look up a key at")
        return next((entry for entry in listed if self._id(entry) == made), None)

    def _is_own(self, entry: Answer, unique: str = "") -> bool:
        """Whether an entry is this secret's; with ``unique``, of the request that sent this."""
        values = {**self.requests.constants, "path": self.path}
        marks = f"(?:{unique}|{unique.upper()})" if unique else UNIQUE
        for pointer, text in self.keys.where.items():
            wanted = templates.pattern(text, lambda name: marks if name == "unique" else re.escape(values[name]))
            owner = entry.text(pointer)
            if owner is None or not wanted.fullmatch(owner.reveal()):
                return False
        return True

    def _id(self, entry: Answer, doing: str = "look up a key at") -> str:
        return self.entry_id(entry, self.keys.listed_id, doing).reveal()


def rfc3339(text: Sensitive | None) -> Sensitive | None:
    """Return an API's time in the schedule's notation; None where it is no time."""
    at = parse_moment(text.reveal()) if text else None
    return Sensitive(at.isoformat()) if at else None


# --- in the catalogue --------------------------------------------------------------------------------------


class KeyListSettings(ListSettings):
    """How keys are listed."""

    id: Pointer
    """Where an entry of the list holds the key's id."""
    where: dict[Pointer, Template] = Field(default_factory=dict)
    """What this secret's own entries hold, by pointer, as `create` gave it: {{path}} and {{unique}} are known."""


class HttpApiKeySettings(RestSettings):
    """A key of any REST API: made, tried and deleted by requests that are described here."""

    strategy: Literal["http-api-key"]
    """How the secret is replaced."""
    test: TrySettings
    """The request that tries a new key (GET), which is sent without the target's own headers."""
    answer: Annotated[dict[ShortName, Pointer], Field(min_length=1)]
    """For each of the secret's fields, where the answer to `create` holds it, as a JSON pointer."""
    generate: dict[ShortName, PasswordSettings] = Field(default_factory=dict)
    """Fields whose values Keyturn makes and `create` sends, as {{candidate.FIELD}}; each with its rules."""
    id_field: ShortName = "id"
    """The field under which `answer` has the key's id: it names the key, and must not be secret."""
    listing: Annotated[KeyListSettings | None, Field(alias="list")] = None
    """The request that lists the keys (GET). Without it a crash may leave an unused key."""
    limit: Annotated[int, Field(ge=2, le=10_000)] | None = None
    """How many keys the API allows; a rotation is refused where there is no room."""
    dates: dict[ShortName, DateSettings] = Field(default_factory=dict)
    """Dates from now for `create`, by name, such as the end of a key whose API requires one."""

    @model_validator(mode="after")
    def _fields_are_whole(self) -> Self:
        if self.id_field not in self.answer:
            remedy = f"Add {self.id_field}: and its pointer, or name another with id_field."
            raise refused("the id of a new key is not among its fields", remedy, "answer")
        if list(self.answer.values()).count(self.answer[self.id_field]) > 1:
            problem = f"{self.id_field} is read from the place of another field, and records show it"
            raise refused(problem, "Point to an id that is not secret.", "answer")
        if taken := sorted({*self.constants, "path", "unique", "rotated_at"} & self._made):
            key = "answer" if taken[0] in self.answer else "generate"
            raise refused(f"the name {taken[0]} has a meaning already", "Choose another name.", key)
        if both := sorted(self.answer.keys() & self.generate.keys()):
            raise refused(
                f"{both[0]} is generated, and also read from the answer", "Remove one of the two.", "generate"
            )
        if unsent := sorted(name for name in self.generate if f"candidate.{name}" not in self.create.names):
            remedy = f"Put {{{{candidate.{unsent[0]}}}}} into its body or form."
            raise refused(f"the request does not send {unsent[0]}, which is generated", remedy, "create")
        if twice := sorted(self._made & self.holds.keys()):
            raise refused(f"{twice[0]} changes with each key", "Name a field that stays the same.", "holds")
        return self

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        names = {*self.constants, "path"}
        self.check_shared_names(self.listing, {self.id_field})
        candidates = {f"candidate.{name}" for name in self.generate}
        check_names(self.create, "create", {*names, *self.dates, "unique", *candidates}, "admin.", "current.")
        check_names(self.test, "test", {*names, *self._made}, "current.")
        values = [name for name in (*self.answer, *self.generate) if name not in (self.id_field, EXPIRES_AT)]
        if not self.test.names & set(values):
            fields = ", ".join(f"{{{{{name}}}}}" for name in values)
            raise refused("the request does not use the new key", f"Put {fields} into one of its headers.", "test")
        sent = candidates.union(values)
        for key, request, hidden in (("test", self.test, set(values)), ("create", self.create, sent)):
            if hidden & {name.removeprefix("current.") for name in templates.names(request.path)}:
                problem = "a key in a path is in the logs of every server on the way"
                raise refused(problem, "Put it into a header or the body.", key)
        if any(self.id_field not in request.names for request in self.delete):
            remedy = f"Put {{{{{self.id_field}}}}} into its path or body."
            raise refused("the request does not name the key", remedy, "delete")
        return self

    @model_validator(mode="after")
    def _keys_outlive_their_service(self) -> Self:
        if taken := sorted({*self.constants, "path", "unique"} & self.dates.keys()):
            raise refused(f"the name {taken[0]} has a meaning already", "Choose another name for this date.", "dates")
        service = (self.longest or timedelta(0)) + self.grace
        for name, date in self.dates.items():
            if date.least <= service:
                problem = f"{name} may end a key within {show(date.least)}, and a key is in use for {show(service)}"
                remedy = "Make `after` longer than interval, jitter and grace together, with days to spare."
                raise refused(problem, remedy, "dates")
        return self

    @model_validator(mode="after")
    def _list_tells_its_own(self) -> Self:
        if self.limit is not None and self.listing is None:
            raise refused("keys can't be counted without a list", "Describe `list`, or remove limit.", "limit")
        where = self.listing.where if self.listing else {}
        for text in where.values():
            if unknown := sorted(set(templates.names(text)) - {*self.constants, "path", "unique"}):
                raise refused(
                    f"where asks for {{{{{unknown[0]}}}}}", "Only path, unique and constants are known.", "list"
                )
        sent = [text for _, text in self.create.places()]
        if where and not any(templates.is_part(part, text) for part in where.values() for text in sent):
            remedy = "Write the same text under `create`, such as the key's name, or within a longer one."
            raise refused("no text of where is given to a new key", remedy, "list")
        return self

    @property
    def _made(self) -> frozenset[str]:
        return frozenset(self.answer) | self.generate.keys()

    @property
    def declared_fields(self) -> frozenset[str]:
        return self._made - NO_CREDENTIAL

    def open(self, path: str, tools: Tools) -> HttpApiKey:
        listing = self.listing
        keys = KeyFields(self.answer, self.id_field, listing.id if listing else "", listing.where if listing else {})
        api, requests = tools.target(self.target), self.key_requests(self.test, listing)
        generated = {name: rules.policy for name, rules in self.generate.items()}

        def dates() -> Mapping[str, str | int]:
            return {name: date.value(tools.clock()) for name, date in self.dates.items()}

        return HttpApiKey(api, path, requests, keys, self.test.key_test(api), self.limit, generated, dates)
