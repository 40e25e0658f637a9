"""The two keys of a service that regenerates them: read, regenerated and tried as the catalogue describes."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from keyturn.core.errors import CandidateRejected, Invalid, Unavailable
from keyturn.core.ports.rest import Answer, Request, RestApi
from keyturn.core.ports.strategies import Change, RevokeResult
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.core.text import templates
from keyturn.core.text.suggest import advice
from keyturn.settings.fields import Duration, Line, refused
from keyturn.settings.requests import Pointer, RequestSettings, ShortName, Template, check_names
from keyturn.strategies.base import Tools
from keyturn.strategies.rest import ApiSettings, ApiStrategy, KeyTest, TrySettings
from keyturn.strategies.two_slots import SHORTEST, TwoSlots, key_digest

KEY: Final = "{{key}}"
SLOT: Final = "{{slot}}"
HELD: Final = "holds."


@dataclass(frozen=True)
class SlotRequests:
    """``values`` points to the value of each slot in the answer to ``read``; ``answered``, to that to ``regenerate``.

    Without ``answered``, the new value is read, as often as ``tries`` while the old one is still shown. ``fields`` are
    the texts of the secret's fields.
    """

    read: Request
    regenerate: Request
    values: Mapping[str, str]
    answered: Mapping[str, str]
    fields: Mapping[str, str]
    tries: int = 1


class HttpTwoSlots(TwoSlots, ApiStrategy):
    """The keys of an account that the constants name. Without ``test``, what the API lists is what works."""

    def __init__(
        self,
        api: RestApi,
        path: str,
        requests: SlotRequests,
        test: KeyTest | None,
        constants: Mapping[str, str],
        holds: Mapping[str, str],
    ) -> None:
        TwoSlots.__init__(self)
        ApiStrategy.__init__(self, api, path, constants, holds)
        self.requests = requests
        self.test = test
        self.sleep = time.sleep
        self.credential_fields = frozenset(requests.fields)
        first, second = requests.values
        self.slots = (first, second)
        self.key_field = field_of(requests.fields, KEY)
        self.slot_field = field_of(requests.fields, SLOT)

    @property
    def account_name(self) -> str:
        return f"{self.api.name}:{self.path}"

    def values(self) -> Mapping[str, Sensitive]:
        doing = "read the keys at"
        answer = self.api.call(self.requests.read, self.fields({}), doing)
        return {slot: self._value(answer, pointer, "read", doing) for slot, pointer in self.requests.values.items()}

    def regenerate(self, slot: str, old: Sensitive, before_sending: Callable[[], None]) -> Sensitive:
        """Regenerate the slot. Raises Unavailable while it still has its old value."""
        doing = f"regenerate {slot} at"
        request, fields = self.requests.regenerate, self.fields({"slot": slot})
        answer = self.api.call(request, fields, doing, before_sending=before_sending)
        if slot in self.requests.answered:
            made = self._value(answer, self.requests.answered[slot], "regenerate", doing)
        else:
            made = self._changed(slot, old)
        if made == old:
            hint = "Raise `patience` of `read` if the API takes longer, and look at the request and the pointers"
            raise Unavailable(doing, self.api.name, f"it accepts the request, and {slot} still has its old value", hint)
        return made

    def _changed(self, slot: str, old: Sensitive) -> Sensitive:
        made = self.values()[slot]
        for _ in range(self.requests.tries - 1):
            if made != old:
                break
            self.sleep(1)
            made = self.values()[slot]
        return made

    def _value(self, answer: Answer, pointer: str, request: str, doing: str) -> Sensitive:
        value = answer.text(pointer)
        if value is None or len(value.reveal()) < SHORTEST:
            problem = f"its answer holds no key of {SHORTEST} characters or more at {pointer or 'its top'}"
            hint = f"Correct the pointers under `values` of `{request}`, in the catalogue"
            raise Invalid(doing, self.api.name, problem, hint)
        return value

    def preflight(self, current: SecretFields | None, candidate: SecretFields | None) -> None:
        ApiStrategy.preflight(self, current, candidate)
        super().preflight(current, candidate)

    def mint(self, current: SecretFields | None) -> SecretFields:
        slot, made = self.regenerate_idle(current)
        values = {**self.constants, "path": self.path, "slot": slot, "key": made.reveal()}
        texts = self.requests.fields.items()
        return SecretFields({name: templates.fill(text, values.__getitem__) for name, text in texts})

    def verify(self, change: Change) -> None:
        """Send the test request. Raises Unavailable where the API refuses a key that it lists: it may be too new."""
        if self.test is None:
            if not self._lists(change.candidate):
                hint = "Run the rotation again: it makes another key"
                raise CandidateRejected("look for the new key at", self.api.name, "it is none of its keys", hint)
            return
        try:
            self.test.insist(self.fields(self._named(change.candidate), change.current))
        except CandidateRejected as refusal:
            if not self._lists(change.candidate):
                raise
            hint = "Raise `patience` of `test` if a new key is known late, and check whether the account takes keys"
            raise Unavailable(refusal.doing, refusal.name, f"{refusal.problem}, and lists it", hint) from None

    def credential_id(self, current: SecretFields) -> Mapping[str, str]:
        named = super().credential_id(current)
        return {**{f"{HELD}{name}": text for name, text in self.holds.items()}, **named} if named else {}

    def retire(self, credential_id: Mapping[str, str], sequence: int) -> None:
        """Regenerate the old slot, if it still has its value. Raises Invalid for another account's key."""
        held = {name.removeprefix(HELD): text for name, text in credential_id.items() if name.startswith(HELD)}
        if changed := sorted(name for name, text in held.items() if self.holds.get(name, text) != text):
            hint = f"Put {changed[0]} and the constants back in the catalogue, until its old key is retired"
            raise self.invalid("the old key is another account's", hint)
        if "digest" in credential_id:
            self.end(credential_id["digest"])

    def revoke(self, credential: SecretFields, sequence: int) -> RevokeResult:
        if name := self.foreign(credential):
            return self.left_to_others(name)
        if key := self.value_of(credential):
            self.end(key_digest(key))
        return RevokeResult()

    def accepts(self, credential: SecretFields) -> bool | None:
        """Whether the API takes the key. Raises Unavailable where it refuses a key that it lists."""
        if self.foreign(credential) or self.value_of(credential) is None:
            return None
        if self.test is None:
            return self._lists(credential)
        fields = self.fields(self._named(credential), credential)
        if not all(fields.get(name) for name in self.test.request.names):
            return None
        refused = self.test.refusal(fields) is not None
        if refused and self._lists(credential):
            hint = "Try again in a minute; if that does not help, check whether the account takes keys at all"
            raise Unavailable("try the key at", self.api.name, "it refuses a key that it lists", hint)
        return not refused

    def _named(self, fields: SecretFields) -> SecretFields:
        """The key and its slot under the names that requests know, next to the version's own fields."""
        slot = {"slot": fields[self.slot_field]} if self.slot_field in fields else {}
        return fields.merged({**slot, "key": fields[self.key_field]})

    def _lists(self, fields: SecretFields) -> bool:
        return fields[self.key_field] in self.values().values()


def field_of(fields: Mapping[str, str], text: str) -> str:
    """Return the only field that is this text alone."""
    return next(name for name, held in fields.items() if held == text)


# --- in the catalogue --------------------------------------------------------------------------------------

Values = dict[Line, Pointer]


class ReadSettings(RequestSettings):
    """The request that shows the keys."""

    values: Values
    """For each slot, where the answer holds its value, as a JSON pointer."""
    patience: Duration = timedelta(0)
    """How long the answer may show the old value of a slot that was regenerated."""


class RegenerateSettings(RequestSettings):
    """The request that regenerates one slot."""

    values: Values = Field(default_factory=dict)
    """For each slot, where the answer holds its new value; without it, Keyturn reads the keys again."""


class HttpTwoSlotsSettings(ApiSettings):
    """The two keys of an account at a REST API: the idle one is regenerated and put in force."""

    strategy: Literal["http-two-slots"]
    """How the secret is replaced."""
    slots: Annotated[tuple[Line, ...], Field(min_length=2, max_length=2)]
    """The names of the two slots, as {{slot}} in `regenerate`. A first version takes the second."""
    read: ReadSettings
    """The request that shows both keys (POST)."""
    regenerate: RegenerateSettings
    """The request that gives {{slot}} a new value (POST)."""
    test: TrySettings | None = None
    """The request that tries a key (GET), as {{key}}, which is sent without the target's own headers."""
    trusts_list: bool = False
    """Whether the answer to `read` alone decides if a key works, where no single request can try one."""
    fields: dict[ShortName, Template] = Field(default_factory=lambda: {"key": KEY, "slot": SLOT})
    """The secret's fields: one is {{key}} alone and one {{slot}} alone, others may be texts with these, such as
    connection strings."""

    @model_validator(mode="after")
    def _slots_have_values(self) -> Self:
        if self.slots[0] == self.slots[1]:
            raise refused("the two slots are the same", "Name the two that the API has.", "slots")
        for key, values in (("read", self.read.values), ("regenerate", self.regenerate.values)):
            if unknown := sorted(values.keys() - set(self.slots)):
                raise refused(f"values names {unknown[0]}", advice(unknown[0], self.slots, "Name a slot."), key)
            if missing := [slot for slot in self.slots if slot not in values and (values or key == "read")]:
                raise refused(f"values lacks the slot {missing[0]}", f"Add {missing[0]}: and its pointer.", key)
            if len(set(values.values())) < len(values):
                raise refused("values has one pointer for both slots", "Point to the value of each slot.", key)
        return self

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        names = {*self.constants, "path"}
        for text, meaning in ((KEY, "the key"), (SLOT, "the slot's name")):
            if list(self.fields.values()).count(text) != 1:
                raise refused(f"exactly one field is {meaning}", f'Write one field as "{text}" alone.', "fields")
        for name, text in self.fields.items():
            if unknown := [place for place in templates.names(text) if place not in {*names, "key", "slot"}]:
                remedy = advice(unknown[0], [*names, "key", "slot"], "")
                raise refused(f"{name} asks for {{{{{unknown[0]}}}}}, which is not known there", remedy, "fields")
        if taken := sorted({*self.constants, "path", "unique", "rotated_at"} & self.fields.keys()):
            raise refused(f"the name {taken[0]} has a meaning already", "Choose another name.", "fields")
        if taken := sorted({"key", "slot"} & self.constants.keys()):
            raise refused(f"the name {taken[0]} has a meaning already", "Choose another name.", "constants")
        if twice := sorted(self.fields.keys() & self.holds.keys()):
            raise refused(f"{twice[0]} changes with each key", "Name a field that stays the same.", "holds")
        check_names(self.read, "read", names, "admin.")
        check_names(self.regenerate, "regenerate", {*names, "slot"}, "admin.")
        check_names(self.test, "test", {*names, "key", "slot", *self.fields}, "current.")
        if "slot" not in self.regenerate.names:
            raise refused("the request names no slot", "Put {{slot}} into its path or body.", "regenerate")
        return self

    @model_validator(mode="after")
    def _a_key_is_tried(self) -> Self:
        if self.test is None:
            if not self.trusts_list:
                remedy = "Describe it; where a key only signs, or is no key for HTTP, say trusts_list: true."
                raise refused("no request tries a key", remedy, "test")
            return self
        if self.trusts_list:
            raise refused("a key is tried, so the list does not decide", "Remove one of the two.", "trusts_list")
        if not self.test.names & {"key", *self._secret_fields}:
            raise refused("the request does not use the key", "Put {{key}} into one of its headers.", "test")
        if set(templates.names(self.test.path)) & {"key", *self._secret_fields}:
            problem = "a key in a path is in the logs of every server on the way"
            raise refused(problem, "Put it into a header or the body.", "test")
        return self

    @property
    def _secret_fields(self) -> set[str]:
        return {name for name, text in self.fields.items() if "key" in templates.names(text)}

    @property
    def declared_fields(self) -> frozenset[str]:
        return frozenset(self._secret_fields)

    def open(self, path: str, tools: Tools) -> HttpTwoSlots:
        api = tools.target(self.target)
        values = {slot: self.read.values[slot] for slot in self.slots}
        read, regenerate = self.read.request("POST"), self.regenerate.request("POST")
        tries = 1 + int(self.read.patience.total_seconds())
        requests = SlotRequests(read, regenerate, values, self.regenerate.values, self.fields, tries)
        test = self.test.key_test(api) if self.test else None
        return HttpTwoSlots(api, path, requests, test, self.constants, self.holds)
