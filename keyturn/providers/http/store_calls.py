"""The requests of a store's recipe, and what its answers hold. Errors name the copy; values are in none."""

import base64
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from keyturn.core.errors import Denied, KeyturnError, NotFound, Throttled, Unavailable
from keyturn.core.ports.rest import Answer, AnswerPattern, Request
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.core.text import templates
from keyturn.providers.http.api_target import HttpApi, Wording
from keyturn.providers.http.marks import Note, from_name, seal_of, to_name
from keyturn.providers.pages import MOST_PAGES, PageGuard
from keyturn.settings.requests import Answers, RequestSettings
from keyturn.settings.store_requests import BASE64, JSON, KEY, MARKS_KEY, EntryReadSettings, StoreRequests, plain_name

ABSENT: Final = (AnswerPattern(frozenset({404, 410})),)
CONFLICT: Final = (AnswerPattern(frozenset({409, 412})),)
LARGEST_ANSWER: Final = 32 * 1024 * 1024  # bytes
WRITTEN: Final = "written"
"""The seal of every entry where the service shows nothing that changes with a value."""


@dataclass(frozen=True)
class StoredEntry:
    """An entry of the service, without its value. ``seal`` is what changes with the value."""

    key: str
    id: str = ""
    version: str = ""
    seal: str = ""
    text: str = ""

    @property
    def note(self) -> Note:
        return Note.from_text(self.text)


@dataclass(frozen=True)
class Copy:
    """What the service has under one name: the entry itself, and those next to it that hold marks."""

    main: StoredEntry | None = None
    beside: tuple[StoredEntry, ...] = ()

    @property
    def noting(self) -> StoredEntry | None:
        """The entry whose marks count: of several, which a crash may leave, the one that fits the value."""
        seal = self.main.seal if self.main else ""
        return next((entry for entry in self.beside if entry.note.seal == seal), next(iter(self.beside), None))


class StoreCalls:
    """The service of one store, as ``settings`` describe it."""

    def __init__(self, name: str, settings: StoreRequests, hub_login: Callable[[], SecretFields] | None = None) -> None:
        self.name = name
        self.settings = settings
        self.apart = settings.marks.apart
        recipe = f"the recipe {settings.recipe}" if settings.recipe else "the catalogue"
        self._api = HttpApi(
            name,
            url=settings.url,
            admin=hub_login or self._login,
            headers=settings.headers,
            ca_file=settings.ca_file,
            timeout=settings.timeout,
            insecure_http=settings.insecure_http,
            login=settings.login,
            wording=Wording("store", f"the login in {settings.token_file or settings.admin}", recipe),
            largest_answer=LARGEST_ANSWER,
        )
        self._listing = settings.list.filled_listing(settings.constants)
        self._key = templates.pattern(settings.key, self._expression)
        self._marks_key = templates.pattern(settings.marks.key or "", self._expression)
        self._place_is_there = False

    def close(self) -> None:
        self._api.close()

    def is_note(self, remote: str) -> bool:
        """Whether the copy's own key would be that of an entry with marks."""
        return self.apart and bool(self._marks_key.fullmatch(self._text(self.settings.key, {"name": remote})))

    def answers(self, doing: str) -> Iterator[Answer]:
        guard = PageGuard(doing, self.named("*"))
        for page in self._pages(doing, "*"):
            if page:
                # A page that begins like an earlier one is a repetition.
                guard.follow(self.key_in(page[0]))
            yield from page

    def _pages(self, doing: str, remote: str) -> Iterator[Sequence[Answer]]:
        fields = SecretFields({**self.settings.constants, **self._texts({})})
        request, filled = self._prepared(self._listing.request, fields)
        with self._naming(self.named(remote)):
            yield from self._api.pages(replace(self._listing, request=request), filled, doing, MOST_PAGES)

    def read_answer(self, fields: SecretFields, doing: str, remote: str) -> Answer | None:
        read = self.settings.read or EntryReadSettings(path=self.settings.list.path)
        absent = patterns(read.absent, ABSENT)
        answer = self.ask(read, "GET", fields, doing, remote, absent)
        return None if any(pattern.matches(answer) for pattern in absent) else answer.at(read.entry)

    def entry(self, answer: Answer | None) -> StoredEntry | None:
        if answer is None:
            return None
        entry, marks = self.settings.entry, self.settings.marks
        key = self.key_in(answer)
        version = "|".join(part.reveal() for at in entry.version if (part := answer.text(at)) is not None)
        value = self.value(answer)
        seals = {"version": version, "nothing": WRITTEN, "value": seal_of(value.reveal()) if value else ""}
        text = self._decoded(answer, marks.at)
        if marks.kept == "name" and (named := self._marks_key.fullmatch(key)):
            text = from_name(named["marks"])
        entry_id = answer.text(entry.id) if entry.id is not None else None
        return StoredEntry(key, entry_id.reveal() if entry_id else "", version, seals[marks.sealed_by], text)

    def key_in(self, answer: Answer) -> str:
        entry = self.settings.entry
        if (key := answer.text(entry.name)) is None:
            raise Unavailable("list", self.name, "it has an entry without a name", "See what answers at its address")
        return _decode(key.reveal()) if entry.encoded_names else key.reveal()

    def value(self, answer: Answer) -> Sensitive | None:
        entry = self.settings.entry
        if self.settings.write_only or entry.value is None or answer.text(entry.value) is None:
            return None
        return Sensitive(self._decoded(answer, entry.value))

    def _decoded(self, answer: Answer, pointer: str) -> str:
        text = answer.text(pointer)
        if text is None:
            return ""
        return _decode(text.reveal()) if self.settings.entry.encoding == "base64" else text.reveal()

    def remote_of(self, key: str) -> tuple[str, bool]:
        """The copy that an entry belongs to, and whether it holds its marks; an empty name for entries elsewhere."""
        if self.apart and (named := self._marks_key.fullmatch(key)):
            return named["name"], True
        named = self._key.fullmatch(key)
        return (named["name"], False) if named else ("", False)

    def ask(
        self,
        settings: RequestSettings,
        method: str,
        fields: SecretFields,
        doing: str,
        remote: str,
        also: Sequence[AnswerPattern],
        numbers: Sequence[str] = (),
    ) -> Answer:
        request, filled = self._prepared(settings.request(method), fields, numbers)
        with self._naming(self.named(remote)):
            return self._api.call(request, filled, doing, also=also)

    def _prepared(
        self, request: Request, fields: SecretFields, numbers: Sequence[str] = ()
    ) -> tuple[Request, SecretFields]:
        """The request with names in keys and whole numbers filled in, and the fields with those in another form."""
        encoded = {
            name: form(fields[plain_name(name)].reveal())
            for name in request.names
            for ending, form in FORMS.items()
            if name.endswith(ending)
        }
        whole = {name: int(fields[name].reveal() or 0) for name in numbers}
        body = _with_keys(templates.replace_whole(request.body, whole), lambda name: fields[name].reveal())
        return replace(request, body=body), fields.merged(encoded)

    def fields(
        self, remote: str, copy: Copy | None = None, value: Sensitive | None = None, marks: str = ""
    ) -> SecretFields:
        main, noting = (copy.main, copy.noting) if copy else (None, None)
        settings = self.settings
        named = {"name": remote, "marks": to_name(marks) if settings.marks.kept == "name" else marks}
        keys = {KEY: self._text(settings.key, named), MARKS_KEY: self._text(settings.marks.key or "", named)}
        about = {
            "id": main.id if main else "",
            "version": main.version if main else "",
            "marks_id": noting.id if noting else "",
            "marks_version": noting.version if noting else "",
            "value": value or "",
        }
        return SecretFields({**settings.constants, **self._texts(named), **named, **keys, **about})

    def _texts(self, named: Mapping[str, str]) -> dict[str, str]:
        return {name: self._text(text, named) for name, text in self.settings.texts.items()}

    def _text(self, text: str, named: Mapping[str, str]) -> str:
        return templates.fill(text, lambda name: named.get(name) or self.settings.constants.get(name, ""))

    @contextmanager
    def _naming(self, name: str) -> Iterator[None]:
        """Make errors of the API name the copy."""
        try:
            yield
        except Throttled as error:
            raise Throttled(error.doing, name, error.problem, error.hint, error.retry_after) from None
        except KeyturnError as error:
            raise type(error)(error.doing, name, error.problem, error.hint) from None

    def _login(self) -> SecretFields:
        file, needed = self.settings.token_file, sorted(self.settings.admin_fields)
        if file is None:
            problem = f"its login is in the hub, at {self.settings.admin}, and this program does not read it there"
            raise Denied("sign in to", self.name, problem, "Run a command that signs in to the hub, or use token_file")
        hint = f"Write {', '.join(needed) or 'the token'} there, as a JSON object unless it is the token alone"
        try:
            text = Path(file).read_text().strip()
        except FileNotFoundError:
            raise NotFound("sign in to", self.name, f"there is no file {file}", hint) from None
        except (OSError, UnicodeDecodeError):
            problem = f"the file {file} can't be read"
            raise Denied("sign in to", self.name, problem, "Check its owner and mode") from None
        try:
            read = json.loads(text) if text.startswith("{") else {"token": text}
        except (ValueError, RecursionError):
            read = {}
        fields = {name: value for name, value in read.items() if isinstance(value, str) and value}
        if lacking := [name for name in needed if name not in fields]:
            raise Denied("sign in to", self.name, f"the file {file} does not hold {', '.join(lacking)}", hint)
        return SecretFields(fields)

    def insist_on_place(self, doing: str, remote: str) -> None:
        """A missing entry is only absent where its place is there: some services answer the same for both."""
        if not self._place_is_there:
            next(self._pages(doing, remote), None)
            self._place_is_there = True

    def named(self, remote: str) -> str:
        return f"{self.name}:{remote}"

    def _expression(self, part: str) -> str:
        own = {"name": "(?P<name>.+)", "marks": "(?P<marks>[A-Z2-7]+)"}
        return own.get(part) or re.escape(self.settings.constants.get(part, ""))


def patterns(answers: Answers, usual: Sequence[AnswerPattern]) -> Sequence[AnswerPattern]:
    return tuple(answer.pattern for answer in answers) or usual


def at_marks(fields: SecretFields) -> SecretFields:
    """The same fields, about the entry with the marks."""
    own = {KEY: MARKS_KEY, "id": "marks_id", "version": "marks_version"}
    return fields.merged({name: fields[other] for name, other in own.items()})


def _with_keys(data: Any, value: Callable[[str], str]) -> Any:
    if isinstance(data, dict):
        return {templates.fill(key, value): _with_keys(inner, value) for key, inner in data.items()}
    return [_with_keys(inner, value) for inner in data] if isinstance(data, list) else data


def _encode(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _within_json(text: str) -> str:
    return json.dumps(text)[1:-1]


FORMS: Final = {BASE64: _encode, JSON: _within_json}


def _decode(text: str) -> str:
    return base64.b64decode(text).decode()
