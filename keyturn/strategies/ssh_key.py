"""SSH keys that are made here; a REST API keeps their public halves among those it accepts."""

import base64
import binascii
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from keyturn.core.errors import CandidateRejected, Invalid
from keyturn.core.ports.keys import KeyKind, KeyMaker
from keyturn.core.ports.rest import Answer, AnswerPattern, Request, RestApi
from keyturn.core.ports.strategies import Change, RevokeResult
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.settings.fields import Line, refused
from keyturn.settings.requests import ListSettings, Pointer, RequestSettings, check_names
from keyturn.strategies.base import Tools, no_place
from keyturn.strategies.rest import ABSENT, OBJECTING, KeyRequests, RestSettings, RestStrategy

TAKEN: Final = frozenset({409, 422})
"""The statuses by which APIs report an existing public key, among other things."""


@dataclass(frozen=True)
class ListedKey:
    """The pointers of a list entry to its key: public key or fingerprint, and the id where the API gives one."""

    public_key: str | None = None
    fingerprint: str | None = None
    id: str | None = None


class SshKey(RestStrategy):
    """A new key pair next to the old one. Only the public half is sent; fingerprints distinguish keys."""

    credential_fields = frozenset({"private_key", "public_key", "fingerprint"})

    def __init__(
        self,
        api: RestApi,
        path: str,
        requests: KeyRequests,
        keys: KeyMaker,
        listed: ListedKey,
        kind: KeyKind = KeyKind.ED25519,
        comment: str = "",
    ) -> None:
        super().__init__(api, path, requests)
        self.keys = keys
        self.listed = listed
        self.kind = kind
        self.comment = comment

    def preflight(self, current: SecretFields | None, candidate: SecretFields | None) -> None:
        super().preflight(current, candidate)
        if current is not None and "private_key" in current and not self.credential_id(current):
            problem = "the secret has no public_key, so its key could never be deleted"
            hint = "Write the key's public half into the field public_key, as in authorized_keys"
            raise Invalid("rotate", f"{self.api.name}:{self.path}", problem, hint)

    def mint(self, current: SecretFields | None) -> SecretFields:
        private = self.keys.private_key(self.kind)
        public = f"{self.keys.public_openssh(private)} {self.comment}".strip()
        return SecretFields(
            {"private_key": self.keys.openssh(private), "public_key": public, "fingerprint": fingerprint(public)}
        )

    def install(self, change: Change) -> None:
        doing, shown = "add a public key at", self.credential_id(change.candidate)
        if self._entries(shown, doing):
            return
        fields = self.fields(public(change.candidate), change.current)
        taken = AnswerPattern(TAKEN - self.requests.create.expect)
        answer = self.api.call(self.requests.create, fields, doing, also=(taken,))
        if taken.matches(answer) and not self._known(shown, doing):
            problem = f"it refuses the public key with {answer.status}"
            raise Invalid(doing, self.api.name, problem, "Compare `create` in the catalogue with its documentation")

    def _known(self, credential_id: Mapping[str, str], doing: str) -> bool:
        return self.requests.listing is None or bool(self._entries(credential_id, doing))

    def verify(self, change: Change) -> None:
        doing, candidate = "try the new key at", change.candidate
        self._insist_on_pair(candidate, doing)
        if self.requests.test is not None:
            self._test(self.requests.test, self.fields(public(candidate), change.current), doing)
        if not self._known(self.credential_id(candidate), doing):
            raise self._rejected(doing, "it does not list the new public key")

    def _insist_on_pair(self, candidate: SecretFields, doing: str) -> None:
        try:
            half = self.keys.public_openssh(candidate["private_key"])
        except Invalid as unreadable:
            raise self._rejected(doing, unreadable.problem) from None
        prints = {fingerprint(half), fingerprint(candidate["public_key"].reveal()), candidate["fingerprint"].reveal()}
        if len(prints) > 1:
            raise self._rejected(doing, "private key, public key and fingerprint are not of one key")

    def _test(self, test: Request, fields: SecretFields, doing: str) -> None:
        refusal = AnswerPattern((OBJECTING | ABSENT.statuses) - test.expect)
        answer = self.api.call(test, fields, doing, also=(refusal,))
        if refusal.matches(answer):
            raise self._rejected(doing, f"it answers {answer.status} to the test request")

    def _rejected(self, doing: str, problem: str) -> CandidateRejected:
        hint = "The key is given up, and CURRENT stays as it is: run the rotation again"
        return CandidateRejected(doing, self.api.name, problem, hint)

    def credential_id(self, current: SecretFields) -> Mapping[str, str]:
        return public(current)

    def in_use(self, credential_id: Mapping[str, str], since: datetime) -> Sequence[str]:
        if not credential_id or (self.requests.listed_use is None and self.requests.last_used is None):
            return ()
        doing = "look up the last use of a key at"
        return [use for entry, key in self._found(credential_id, doing) for use in self.used_since(since, entry, key)]

    def retire(self, credential_id: Mapping[str, str], sequence: int) -> None:
        doing = "delete a key at"
        listed = self._found(credential_id, doing) if credential_id else []
        deleted = [self.remove(key) for _, key in listed]
        if listed and self._entries(credential_id, doing):
            raise self.still_there(deleted=all(deleted))

    def revoke(self, credential: SecretFields, sequence: int) -> RevokeResult:
        if name := self.foreign(credential):
            return self.left_to_others(name)
        halves = self._halves(credential)
        for half in halves:
            self.retire(half, sequence)
        lasting = f"SSH sessions that are open, and servers that have not yet asked {self.api.name} for its keys again"
        return RevokeResult(outlives=(lasting,) if halves else ())

    def find_everything(self, spared: Sequence[SecretFields]) -> Iterable[str]:
        raise no_place(f"{self.api.name} does not say which of the account's public keys were this secret's")

    def accepts(self, credential: SecretFields) -> bool | None:
        """Whether the API still shows the public key, without a login; None where the version names no key."""
        halves = [] if self.foreign(credential) else self._halves(credential)
        return any(self._shows(half, credential) for half in halves) if halves else None

    def _halves(self, fields: SecretFields) -> list[dict[str, str]]:
        halves = []
        if private := fields.get("private_key"):
            with suppress(Invalid):
                halves.append(public(SecretFields({"public_key": self.keys.public_openssh(private)})))
        # Of two lines for one key the version's own stays: it has the comment.
        return list({half["fingerprint"]: half for half in (*halves, public(fields)) if half}.values())

    def _shows(self, half: Mapping[str, str], credential: SecretFields) -> bool:
        doing, test = "look for a key at", self.requests.test
        if self.requests.listing is not None or test is None:
            return bool(self._entries(half, doing))
        return not ABSENT.matches(self.api.call(test, self.fields(half, credential), doing, also=(ABSENT,)))

    def _found(self, credential_id: Mapping[str, str], doing: str) -> list[tuple[Answer | None, SecretFields]]:
        if self.requests.listing is None:
            return [(None, self.fields(credential_id))]
        entries = self._entries(credential_id, doing)
        return [(entry, self.fields({**credential_id, **self._id(entry, doing)})) for entry in entries]

    def _id(self, entry: Answer, doing: str) -> Mapping[str, Sensitive]:
        return {} if self.listed.id is None else {"id": self.entry_id(entry, self.listed.id, doing)}

    def _entries(self, credential_id: Mapping[str, str], doing: str) -> list[Answer]:
        return [entry for entry in self.entries(doing) if self._print(entry, doing) == credential_id["fingerprint"]]

    def _print(self, entry: Answer, doing: str) -> str | None:
        pointer = self.listed.fingerprint if self.listed.public_key is None else self.listed.public_key
        text = entry.text(pointer or "")
        if text is None:
            hint = "Correct the pointers under `list`, in the catalogue"
            raise Invalid(doing, self.api.name, "its list has an entry that does not say which key it is", hint)
        if self.listed.public_key is not None:
            return fingerprint(text.reveal())
        return f"SHA256:{text.reveal().removeprefix('SHA256:').rstrip('=')}"


def fingerprint(public_key: str) -> str | None:
    """Return the fingerprint that ``ssh-keygen -l`` shows for a line: SHA-256 in base64; None where it is no key."""
    kind, _, rest = public_key.strip().partition(" ")
    try:
        blob = base64.b64decode(rest.partition(" ")[0], validate=True)
    except binascii.Error:
        return None
    # The key begins with its own kind, so that a text which merely looks like base64 is not taken for one.
    if not kind or not blob.startswith(len(kind).to_bytes(4) + kind.encode()):
        return None
    return f"SHA256:{base64.b64encode(hashlib.sha256(blob).digest()).rstrip(b'=').decode()}"


def public(fields: SecretFields) -> dict[str, str]:
    public_key = fields["public_key"].reveal() if "public_key" in fields else ""
    shown = fingerprint(public_key)
    return {"public_key": public_key, "fingerprint": shown} if shown else {}


# --- in the catalogue --------------------------------------------------------------------------------------


class SshListSettings(ListSettings):
    """How public keys are listed."""

    public_key: Pointer | None = None
    """Where an entry of the list holds the public key; comments make no difference."""
    fingerprint: Pointer | None = None
    """Where it holds the key's SHA-256 fingerprint, for APIs that do not list the keys themselves."""
    id: Pointer | None = None
    """Where it holds the id that `delete` and `last_used` may need as {{id}}."""

    @model_validator(mode="after")
    def _tells_keys_apart(self) -> Self:
        if (self.public_key is None) == (self.fingerprint is None):
            raise refused("must identify keys in one way", "Give one pointer: public_key, or fingerprint.")
        return self


class SshKeySettings(RestSettings):
    """An SSH key pair that is made here; a REST API keeps its public half among those it accepts."""

    strategy: Literal["ssh-key"]
    """How the secret is replaced."""
    key: KeyKind = KeyKind.ED25519
    """What the key is made of: ed25519, rsa-2048, rsa-3072, rsa-4096, p-256, p-384 or p-521."""
    comment: Line | None = None
    """The comment after the public key; without it, the secret's path."""
    listing: Annotated[SshListSettings | None, Field(alias="list")] = None
    """The request that lists the public keys (GET)."""
    test: RequestSettings | None = None
    """A request that succeeds once the API has the key (GET); without it, its being listed is enough."""

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        public = {"public_key", "fingerprint"}
        if taken := sorted({*public, "id", "private_key"} & self.constants.keys()):
            raise refused(f"the name {taken[0]} has a meaning already", "Choose another name.", "constants")
        names = {*self.constants, "path", *public}
        has_id = self.listing is not None and self.listing.id is not None
        self.check_shared_names(self.listing, public | ({"id"} if has_id else set()))
        check_names(self.create, "create", names, "admin.", "current.")
        check_names(self.test, "test", names, "admin.", "current.")
        return self

    @model_validator(mode="after")
    def _key_gets_there_and_back(self) -> Self:
        if "public_key" not in self.create.names:
            raise refused("the request does not hold the key", "Put {{public_key}} into its body.", "create")
        if not all(request.names & {"id", "public_key", "fingerprint"} for request in self.delete):
            raise refused("the request does not name the key", "Put {{id}} or {{fingerprint}} into its path.", "delete")
        if self.listing is None and self.test is None:
            raise refused("nothing shows whether the API has a key", "Describe list, or test.", "list")
        return self

    def open(self, path: str, tools: Tools) -> SshKey:
        listing = self.listing
        listed = ListedKey(listing.public_key, listing.fingerprint, listing.id) if listing else ListedKey()
        requests = self.key_requests(self.test, listing)
        comment = path if self.comment is None else self.comment
        return SshKey(tools.target(self.target), path, requests, tools.keys, listed, self.key, comment)
