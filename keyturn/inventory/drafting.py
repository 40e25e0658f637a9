"""Write a catalogue's text with reasons and questions. Uncertain parts are commented out."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from keyturn.catalogue.files.append import quoted
from keyturn.catalogue.freezes import illegal_pattern
from keyturn.inventory.hub_inventory import PathSecret, Unread
from keyturn.inventory.matching import CopyQuestion, Form, Match, Matching
from keyturn.inventory.proposals import Proposal

CLASSIFICATIONS: Final = ("public", "internal", "confidential", "restricted")


@dataclass(frozen=True)
class DraftedPlace:
    """A copy in the catalogue's notation; commented out where it has a ``question``."""

    store: str
    name: str
    form: Form | None = field(default_factory=Form)
    adopt: bool = False
    note: str = ""
    question: str = ""
    more: Mapping[str, str] = field(default_factory=dict)

    def lines(self) -> Iterator[str]:
        if self.question:
            yield self.asked
            if self.form:
                yield f"# {self.entry(adopt=True)}"
            return
        yield self.entry(adopt=self.adopt) + (f" # {comment(self.note)}" if self.note else "")

    @property
    def asked(self) -> str:
        return comment(f"# question: {self.store}:{self.name}: {self.question}")

    def entry(self, *, adopt: bool) -> str:
        parts = {"store": quoted(self.store), "name": quoted(self.name), **shape_of(self.form or Form()), **self.more}
        if adopt:
            parts["adopt"] = "true"
        return f"- {{ {', '.join(f'{key}: {text}' for key, text in parts.items())} }}"


def shape_of(form: Form) -> dict[str, str]:
    if form.fields and all(name == own for name, own in form.fields):
        return {"fields": f"[{', '.join(quoted(own) for _, own in form.fields)}]"}
    if form.fields:
        return {"fields": f"{{ {', '.join(f'{quoted(name)}: {quoted(own)}' for name, own in form.fields)} }}"}
    encoding = {"encoding": "base64"} if form.encoded else {}
    return {"field": quoted(form.field), **encoding} if form.field else {}


@dataclass(frozen=True)
class DraftedSecret:
    """A secret of the catalogue; commented out where ``refused`` is a reason against it."""

    path: str
    owner: str
    classification: str
    places: tuple[DraftedPlace, ...] = ()
    proposal: Proposal | None = None
    notes: tuple[str, ...] = ()
    refused: str = ""

    def lines(self) -> Iterator[str]:
        body = [f"{quoted(self.path)}:", *(f"  {line}" for line in self._body())]
        if self.refused:
            yield f"# not declared: {comment(self.refused)}"
            body = [f"# {line}" for line in body]
        yield from body

    def _body(self) -> Iterator[str]:
        yield f"owner: {quoted(self.owner)}"
        yield f"classification: {self.classification}"
        yield from (f"# {comment(note)}" for note in self.notes)
        yield "rotation: { strategy: manual }"
        if self.proposal:
            yield from proposal_lines(self.proposal)
        if any(not place.question for place in self.places):
            yield "destinations:"
            yield from (f"  {line}" for place in self.places for line in place.lines())
            return
        yield from (place.asked for place in self.places)
        if entries := [place.entry(adopt=True) for place in self.places if place.form]:
            yield from ["# destinations:", *(f"#   {entry}" for entry in entries)]


def proposal_lines(proposal: Proposal) -> Iterator[str]:
    if not proposal.rotation:
        yield f"# manual: {comment(proposal.reason)}"
    else:
        yield f"# proposal: {comment(proposal.reason)}"
        yield f"# rotation: {flow(proposal.rotation)}"
    yield from (f"# question: {comment(question)}" for question in proposal.questions)


def flow(data: Any) -> str:
    if isinstance(data, Mapping):
        return f"{{ {', '.join(f'{quoted(str(key))}: {flow(value)}' for key, value in data.items())} }}"
    if isinstance(data, list | tuple):
        return f"[{', '.join(map(flow, data))}]"
    return duration_or_text(data) if isinstance(data, str) else json.dumps(data)


def duration_or_text(text: str) -> str:
    """Return a text as YAML; a duration such as ``30d`` needs no quotes."""
    return text if text[:1].isdigit() and text[-1:].isalpha() and text.isalnum() and "e" not in text else quoted(text)


def comment(text: str) -> str:
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in " ".join(text.split()))


@dataclass(frozen=True)
class Defaults:
    """The values for an entry where the hub's metadata has none."""

    owner: str
    classification: str = "confidential"


def draft_entries(
    secrets: Sequence[PathSecret], matching: Matching, proposals: Mapping[str, Proposal], defaults: Defaults
) -> list[DraftedSecret]:
    places: dict[str, list[DraftedPlace]] = defaultdict(list)
    for match in matching.matches:
        places[match.path].append(matched_place(match))
    for question in matching.questions:
        if question.path:
            form = question.form
            places[question.path].append(DraftedPlace(question.store, question.name, form, question=question.text))
    folders = {folder for secret in secrets for folder in folders_of(secret.path)}
    return [
        DraftedSecret(
            secret.path,
            custom_text(secret, "owner") or defaults.owner,
            classification(secret, defaults),
            tuple(sorted(places[secret.path], key=lambda place: (bool(place.question), place.store, place.name))),
            proposals.get(secret.path),
            refused=refusal_of_path(secret.path, folders),
        )
        for secret in sorted(secrets, key=lambda secret: secret.path)
    ]


def matched_place(match: Match) -> DraftedPlace:
    spelled = "; the first apply writes it with its keys sorted and without white space" if match.respelled else ""
    return DraftedPlace(
        match.stored.store, match.stored.name, match.form, adopt=not match.own, note=f"{match.why}{spelled}"
    )


def folders_of(path: str) -> Iterator[str]:
    parts = path.split("/")
    yield from ("/".join(parts[:end]) for end in range(1, len(parts)))


def refusal_of_path(path: str, folders: Iterable[str]) -> str:
    if flaw := illegal_pattern(path):
        return f"{flaw[0]}. {flaw[1]}"
    if path in folders:
        return "other secrets are below it, and no declared secret may be below another: move it, or leave it out"
    return ""


def custom_text(secret: PathSecret, name: str) -> str:
    """Return a printable value of the secret's custom metadata, or an empty text."""
    text = secret.custom.get(name, "").strip()
    return text if text.isprintable() else ""


def classification(secret: PathSecret, defaults: Defaults) -> str:
    word = custom_text(secret, "classification").casefold()
    return word if word in CLASSIFICATIONS else defaults.classification


def once_each(proposals: Mapping[str, Proposal]) -> dict[str, Proposal]:
    claims: dict[str, list[str]] = defaultdict(list)
    for path, proposal in sorted(proposals.items()):
        for claim in claimed(proposal):
            claims[claim].append(path)
    made = dict(proposals)
    for paths in claims.values():
        for path in paths if len(paths) > 1 else ():
            others = ", ".join(other for other in paths if other != path)
            asks = f"{others} would take the same account: which of them rotates it? Only one can"
            made[path] = replace(made[path], questions=tuple(dict.fromkeys((*made[path].questions, asks))))
    return made


def claimed(proposal: Proposal) -> list[str]:
    rotation = proposal.rotation
    if rotation.get("target") == "TARGET":
        return []
    users = [*rotation.get("users", ()), *([rotation["user"]] if "user" in rotation else [])]
    return [f"{rotation['target']}\0{user}" for user in users if user != "USER"]


def ending_lines(
    unread: Iterable[Unread], left_out: Iterable[Unread], questions: Iterable[CopyQuestion]
) -> Iterator[str]:
    sections = (
        ("Could not be read, and may hold anything:", [f"{place.name}: {place.why}" for place in unread]),
        ("Not declared:", [f"{item.name}: {item.why}" for item in left_out]),
        (
            "In the stores, without a known owner:",
            [f"question: {q.store}:{q.name}: {q.text}" for q in questions if not q.path],
        ),
    )
    for heading, lines in sections:
        if lines:
            yield from ("", f"# {heading}", *(f"#   {comment(line)}" for line in lines))
