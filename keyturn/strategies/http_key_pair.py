"""Key pairs that are made here; a REST API keeps their public halves, and their holder logs in by a signed JWT."""

import base64
import hashlib
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from keyturn.core.errors import CandidateRejected, Invalid
from keyturn.core.ports.keys import ALGORITHMS, KeyKind, KeyMaker, thumbprint
from keyturn.core.ports.rest import Answer, AnswerPattern, RestApi
from keyturn.core.ports.strategies import Change, RevokeResult
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.core.text import templates
from keyturn.core.text.jwts import sign_jwt
from keyturn.settings.api_logins import JwtSettings
from keyturn.settings.fields import Line, refused
from keyturn.settings.requests import ListSettings, Pointer, ShortName, Template, check_names
from keyturn.strategies.base import Tools, no_place
from keyturn.strategies.rest import KeyRequests, KeyTest, RestSettings, RestStrategy, TrySettings
from keyturn.strategies.two_slots import WINDOW, Freshness

PRIVATE_KEY: Final = "private_key"
NAMES: Final = ("fingerprint", "kid")
"""The fields that name a key, and its public half, without being it."""
FIELDS: Final = (PRIVATE_KEY, "public_key", *NAMES)
TAKEN: Final = frozenset({409, 422})
"""The statuses by which APIs report an existing public key, among other things."""
ADDING: Final = "add a public key at"


@dataclass(frozen=True)
class ListedKeys:
    """How the list shows keys: ``match`` are texts by pointer, filled in from a key's names.

    ``slots`` are the places of an account with a fixed number, each with its id in the list. The entry of an empty one
    has no text at a pointer of ``match``. ``limit`` is the maximum number of keys.
    """

    match: Mapping[str, str]
    id: str | None = None
    slots: Mapping[str, str] = field(default_factory=dict)
    limit: int | None = None


class HttpKeyPair(RestStrategy):
    """A new key pair next to the old one. Only the public half is sent; names made from the key tell keys apart."""

    credential_fields = frozenset(FIELDS)

    def __init__(
        self,
        api: RestApi,
        path: str,
        requests: KeyRequests,
        keys: KeyMaker,
        listed: ListedKeys,
        test: KeyTest,
        jwt: JwtSettings,
        kind: KeyKind,
        clock: Callable[[], datetime],
    ) -> None:
        super().__init__(api, path, requests)
        self.keys = keys
        self.listed = listed
        self.test = replace(test, prepare=self._signed)
        self.jwt = jwt
        self.kind = kind
        self.clock = clock
        self.window = WINDOW

    def preflight(self, current: SecretFields | None, candidate: SecretFields | None) -> None:
        super().preflight(current, candidate)
        if current is not None and PRIVATE_KEY in current:
            try:
                self._names(current[PRIVATE_KEY])
            except Invalid as error:
                hint = f"Write the key in use into {PRIVATE_KEY}, or remove that field to begin with a new one"
                raise Invalid("read", f"{self.api.name}:{self.path}", error.problem, hint) from None
        if candidate is None and self.listed.limit is not None:
            doing = "count the keys at"
            if (count := len(self._held(doing))) >= self.listed.limit:
                problem = f"there are {count} keys, and no more than {self.listed.limit} may be"
                raise Invalid(doing, self.api.name, problem, "Delete an unused one")

    def mint(self, current: SecretFields | None) -> SecretFields:
        private = self.keys.private_key(self.kind)
        return SecretFields({PRIVATE_KEY: private, "public_key": self.keys.public_key(private), **self._names(private)})

    def install(self, change: Change) -> None:
        """Send the public half unless the list has it; a slot must be empty, as no API compares before it writes."""
        window = Freshness(self.window, ADDING, self.api.name, "its keys were listed")
        held, names = self._held(ADDING), self._named(change.candidate)
        if any(self._is_of(entry, names) for entry in held):
            return
        taken = AnswerPattern(TAKEN - self.requests.create.expect)
        fields = self._public(change.candidate[PRIVATE_KEY], self._empty_slot(held))
        answer = self.api.call(self.requests.create, fields, ADDING, also=(taken,), before_sending=window.insist)
        if taken.matches(answer) and not self._found(names, ADDING):
            problem = f"it refuses the public key with {answer.status}"
            raise Invalid(ADDING, self.api.name, problem, "Compare `create` in the catalogue with its documentation")

    def verify(self, change: Change) -> None:
        """Log in by a JWT that the new key signs, and check that its other fields are that key's."""
        doing, candidate = "try the new key at", change.candidate
        try:
            names = self._names(candidate[PRIVATE_KEY])
        except Invalid as unreadable:
            raise self._rejected(doing, unreadable.problem) from None
        if any(candidate[name].reveal() != names[name] for name in NAMES):
            raise self._rejected(doing, "its names are not those of its private key")
        self.test.insist(self._fields(candidate))

    def _rejected(self, doing: str, problem: str) -> CandidateRejected:
        hint = "The key is given up, and CURRENT stays as it is: run the rotation again"
        return CandidateRejected(doing, self.api.name, problem, hint)

    def credential_id(self, current: SecretFields) -> Mapping[str, str]:
        return next(iter(self._all_names(current)), {})

    def in_use(self, credential_id: Mapping[str, str], since: datetime) -> Sequence[str]:
        if not credential_id or (self.requests.listed_use is None and self.requests.last_used is None):
            return ()
        doing = "look up the last use of a key at"
        entries = self._found(credential_id, doing)
        return [use for entry in entries for use in self.used_since(since, entry, self._place(entry, credential_id))]

    def retire(self, credential_id: Mapping[str, str], sequence: int) -> None:
        """Delete the key wherever the list has it; within seconds of a reading, as a slot has no other fence."""
        if not credential_id:
            return
        doing = "delete a key at"
        window = Freshness(self.window, doing, self.api.name, "its keys were listed")
        entries = self._found(credential_id, doing)
        deleted = [self.remove(self._place(entry, credential_id), window.insist) for entry in entries]
        for _ in range(self.test.tries - 1 if any(deleted) else 0):
            if not self._found(credential_id, doing):
                return
            self.test.sleep(1)
        if deleted and self._found(credential_id, doing):
            raise self.still_there(deleted=any(deleted))

    def revoke(self, credential: SecretFields, sequence: int) -> RevokeResult:
        if name := self.foreign(credential):
            return self.left_to_others(name)
        named = self._all_names(credential)
        for names in named:
            self.retire(names, sequence)
        lasting = f"tokens and sessions that {self.api.name} gave to the key earlier, until they expire"
        return RevokeResult(outlives=(lasting,) if named else ())

    def find_everything(self, spared: Sequence[SecretFields]) -> Iterable[str]:
        raise no_place(f"{self.api.name} does not say which of the account's public keys were this secret's")

    def accepts(self, credential: SecretFields) -> bool | None:
        """Whether the key can log in; None where the version holds no key that can sign."""
        if self.foreign(credential) or PRIVATE_KEY not in credential:
            return None
        try:
            self.keys.kind(credential[PRIVATE_KEY])
        except Invalid:
            return None
        return self.test.refusal(self._fields(credential)) is None

    def _signed(self, fields: SecretFields) -> SecretFields:
        """Add the JWT, a new one for each request, and take the private key away."""
        values = {**fields, "unique": Sensitive(secrets.token_hex(6))}
        header = templates.fill_all(self.jwt.header, lambda name: values[name].reveal())
        claims = templates.fill_all(self.jwt.claims, lambda name: values[name].reveal())
        header["alg"] = self.jwt.algorithm
        jwt = sign_jwt(self.keys, fields[PRIVATE_KEY], header, claims, self.clock(), self.jwt.lifetime)
        return SecretFields({**{name: fields[name] for name in fields if name != PRIVATE_KEY}, "jwt": jwt})

    def _fields(self, version: SecretFields) -> SecretFields:
        return self.fields({PRIVATE_KEY: version[PRIVATE_KEY], **self._names(version[PRIVATE_KEY])})

    def _public(self, private: Sensitive, slot: Mapping[str, str]) -> SecretFields:
        """Return what the request that adds a key may send: nothing of the private half."""
        pem = self.keys.public_key(private)
        jwk = {f"jwk.{name}": value for name, value in self.keys.public_jwk(private).items()}
        return self.fields({"public_key": pem, "public_key_line": _line(pem), **jwk, **self._names(private), **slot})

    def _names(self, private: Sensitive) -> dict[str, str]:
        return {
            "fingerprint": spki_fingerprint(self.keys.public_key(private)),
            "kid": thumbprint(self.keys.public_jwk(private)),
        }

    def _named(self, fields: SecretFields) -> dict[str, str]:
        return {name: fields[name].reveal() for name in NAMES}

    def _all_names(self, fields: SecretFields) -> list[dict[str, str]]:
        """Return the names of the private key, and those that the version holds, if they differ."""
        named = []
        if PRIVATE_KEY in fields:
            with suppress(Invalid):
                named.append(self._names(fields[PRIVATE_KEY]))
        if all(name in fields for name in NAMES) and self._named(fields) not in named:
            named.append(self._named(fields))
        return named

    def _held(self, doing: str) -> list[Answer]:
        """Return the entries that hold a key: of slots, those of this list's that are not empty."""
        entries, listed = self.entries(doing), self.listed
        if not listed.slots:
            return list(entries)
        by_id = {self._id(entry, doing): entry for entry in entries}
        if lacking := [slot for slot, id in listed.slots.items() if id not in by_id]:
            hint = "Correct `slots` and `id` under `list`, in the catalogue"
            raise Invalid(doing, self.api.name, f"its list lacks the slot {lacking[0]}", hint)
        slots = [by_id[id] for id in listed.slots.values()]
        return [entry for entry in slots if all(listed_text(entry, pointer) for pointer in listed.match)]

    def _empty_slot(self, held: Sequence[Answer]) -> Mapping[str, str]:
        if not self.listed.slots:
            return {}
        taken = {self._id(entry, ADDING) for entry in held}
        empty = next((slot for slot, id in self.listed.slots.items() if id not in taken), None)
        if empty is None:
            problem = f"each of its {len(taken)} slots holds a key, and this one is in none of them"
            raise Invalid(ADDING, self.api.name, problem, "Delete the key that no application uses")
        return {"slot": empty}

    def _found(self, names: Mapping[str, str], doing: str) -> list[Answer]:
        return [entry for entry in self._held(doing) if self._is_of(entry, names)]

    def _is_of(self, entry: Answer, names: Mapping[str, str]) -> bool:
        values = self.fields(names)
        wanted = (
            (pointer, templates.fill(text, lambda name: values[name].reveal()))
            for pointer, text in self.listed.match.items()
        )
        return all(listed_text(entry, pointer) == text for pointer, text in wanted)

    def _place(self, entry: Answer, names: Mapping[str, str]) -> SecretFields:
        if self.listed.id is None:
            return self.fields(names)
        made = self._id(entry, "look up a key at")
        slot = next((slot for slot, id in self.listed.slots.items() if id == made), None)
        return self.fields({**names, "id": made, **({"slot": slot} if slot else {})})

    def _id(self, entry: Answer, doing: str) -> str:
        return self.entry_id(entry, self.listed.id or "", doing).reveal()


def listed_text(entry: Answer, pointer: str) -> str:
    text = entry.text(pointer)
    return "" if text is None or text.reveal() == "null" else text.reveal()


def _line(pem: str) -> str:
    return "".join(pem.strip().splitlines()[1:-1])


def spki_fingerprint(pem: str) -> str:
    """Return the SHA-256 of a public key's SubjectPublicKeyInfo in base64, as Snowflake shows it."""
    digest = hashlib.sha256(base64.b64decode(_line(pem))).digest()
    return f"SHA256:{base64.b64encode(digest).decode()}"


# --- in the catalogue --------------------------------------------------------------------------------------


class PublicKeyListSettings(ListSettings):
    """How public keys are listed."""

    match: Annotated[dict[Pointer, Template], Field(min_length=1)]
    """What a key's entry holds, by pointer; {{fingerprint}} and {{kid}} are the key's names."""
    id: Pointer | None = None
    """Where an entry holds the id that `delete` and `last_used` may need as {{id}}; with `slots`, the slot's."""


class HttpKeyPairSettings(RestSettings):
    """A key pair that is made here; a REST API keeps its public half, and a JWT that it signs logs in."""

    strategy: Literal["http-key-pair"]
    """How the secret is replaced."""
    key: KeyKind = KeyKind.RSA_2048
    """What the key is made of: rsa-2048, rsa-3072, rsa-4096, p-256, p-384, p-521 or ed25519."""
    jwt: JwtSettings
    """The JWT that the key signs to log in: {{jwt}} in `test`."""
    test: TrySettings
    """The request that logs in with the new key (GET), which is sent without the target's own headers."""
    listing: Annotated[PublicKeyListSettings, Field(alias="list")]
    """The request that lists the public keys (GET)."""
    slots: dict[ShortName, Line] = Field(default_factory=dict)
    """The slots of an account with a fixed number: {{slot}} in `create` and `delete`, each with its id in the list."""
    limit: Annotated[int, Field(ge=2, le=10_000)] | None = None
    """How many keys the API allows; a rotation is refused where there is no room."""

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        if taken := sorted({*FIELDS, "id", "slot", "jwt", "public_key_line"} & self.constants.keys()):
            raise refused(f"the name {taken[0]} has a meaning already", "Choose another name.", "constants")
        names = {*self.constants, "path", *NAMES}
        places = {"id"} if self.listing.id is not None else set()
        slot = {"slot"} if self.slots else set()
        check_names([*self.delete], "delete", {*names, *places, *slot}, "admin.")
        check_names(self.last_used, "last_used", {*names, *places}, "admin.")
        check_names(self.listing, "list", {*self.constants, "path"}, "admin.")
        check_names(self.create, "create", {*names, *slot, "public_key", "public_key_line"}, "admin.", "jwk.")
        check_names(self.test, "test", {*names, "jwt"})
        for key, texts, legal in (
            ("list", self.listing.match.values(), names),
            ("jwt", [text for _, text in self.jwt.jwt_texts()], {*names, "unique"}),
        ):
            if unknown := sorted({name for text in texts for name in templates.names(text)} - legal):
                remedy = f"Known here: {', '.join(sorted(legal))}."
                raise refused(f"a text asks for {{{{{unknown[0]}}}}}, which is not known there", remedy, key)
        return self

    @model_validator(mode="after")
    def _key_gets_there_and_back(self) -> Self:
        sent = self.create.names
        if not sent & {"public_key", "public_key_line"} and not any(name.startswith("jwk.") for name in sent):
            raise refused("the request does not hold the key", "Put {{public_key}} into its body.", "create")
        if "jwt" not in self.test.names:
            raise refused("the request does not log in", "Put {{jwt}} into its form or a header.", "test")
        if "jwt" in templates.names(self.test.path):
            problem = "a token in a path is in the logs of every server on the way"
            raise refused(problem, "Put it into a header or the body.", "test")
        if not any(name in templates.names(text) for text in self.listing.match.values() for name in NAMES):
            raise refused("match does not say which key it is", "Use {{fingerprint}} or {{kid}}.", "list")
        if not all(request.names & {"id", "slot", *NAMES} for request in self.delete):
            raise refused("the request does not name the key", "Put {{id}} or {{kid}} into its path.", "delete")
        if self.jwt.algorithm not in ALGORITHMS[self.key]:
            remedy = f"Write {' or '.join(ALGORITHMS[self.key])}, or choose another kind with key."
            raise refused(f"a key of the kind {self.key} can't sign with {self.jwt.algorithm}", remedy, "jwt")
        return self

    def _names_besides_create(self) -> set[str]:
        texts = [*self.listing.match.values(), *(text for _, text in self.jwt.jwt_texts())]
        return super()._names_besides_create() | {name for text in texts for name in templates.names(text)}

    @model_validator(mode="after")
    def _slots_are_two(self) -> Self:
        if not self.slots:
            return self
        if len(self.slots) < 2 or len(set(self.slots.values())) < len(self.slots):
            raise refused("old and new key need a slot each", "Name two slots or more, each with its own id.", "slots")
        if self.listing.id is None:
            raise refused("nothing says which slot an entry is", "Add id: the pointer to the slot's id.", "list")
        if "slot" not in self.create.names or not all("slot" in request.names for request in self.delete):
            raise refused("a request does not name the slot", "Put {{slot}} into create and delete.", "slots")
        if self.limit is not None:
            raise refused("the slots are the limit", "Remove limit.", "limit")
        return self

    def open(self, path: str, tools: Tools) -> HttpKeyPair:
        api, requests = tools.target(self.target), self.key_requests(self.test, self.listing)
        limit = len(self.slots) or self.limit
        listed = ListedKeys(self.listing.match, self.listing.id, self.slots, limit)
        test = self.test.key_test(api)
        return HttpKeyPair(api, path, requests, tools.keys, listed, test, self.jwt, self.key, tools.clock)
