"""Find the path that a secret of a store is a copy of, by its values. Names alone decide nothing.

A value that can't occur twice by accident is enough. A plain value must be the whole of a secret with several fields,
or occur at one path and under one matching name. Common values (``changeme``, ``true``) count for nothing. A copy that
fits two paths becomes a question.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from typing import Final

from keyturn.core.mounts import split
from keyturn.core.text.references import names_previous
from keyturn.inventory.hub_inventory import PathSecret
from keyturn.inventory.store_inventory import StoredSecret, StoreInventory
from keyturn.inventory.values import Held, Strength, Value

MANY: Final = 50
"""Paths beyond which a common value is not compared, because it identifies none of them."""
NAMED: Final = 5
"""Maximum number of paths that a question names."""

UNCLAIMED: Final = ("", "default")
"""Catalogue ids in a copy's marks that any catalogue may take over."""

Older = Callable[[str], Iterable[tuple[int, Held]]]
"""The versions of a path before its newest."""


class Rank(IntEnum):
    """How much of a secret a copy holds. A higher rank is preferred."""

    FIELD = 1
    FIELDS = 2
    WHOLE = 3


@dataclass(frozen=True)
class Form:
    """How a copy is made: ``fields`` pairs names in the copy with fields of the secret.

    Without ``fields`` and ``field`` the copy is the whole secret.
    """

    rank: Rank = Rank.WHOLE
    fields: tuple[tuple[str, str], ...] = ()
    field: str = ""
    encoded: bool = False


@dataclass(frozen=True)
class Candidate:
    """A possible source of a copy; ``count`` is the number of equal values."""

    path: str
    form: Form
    strength: Strength
    count: int = 1


@dataclass(frozen=True)
class Match:
    """A copy of a path; ``own`` means that Keyturn wrote it."""

    path: str
    stored: StoredSecret
    form: Form
    why: str
    own: bool = False

    @property
    def respelled(self) -> bool:
        """Whether the next write changes only white space or key order."""
        return self.form.rank is not Rank.FIELD and not self.stored.canonical


@dataclass(frozen=True)
class CopyQuestion:
    """A question on a secret of a store; ``path`` is its likely source, if known."""

    store: str
    name: str
    text: str
    path: str = ""
    form: Form | None = None


@dataclass(frozen=True)
class Matching:
    """The result; ``unmatched`` are the secrets that share nothing with the hub."""

    matches: tuple[Match, ...]
    questions: tuple[CopyQuestion, ...]
    unmatched: tuple[str, ...]


def match_copies(
    secrets: Sequence[PathSecret], inventories: Sequence[StoreInventory], older: Older, typeless: Collection[str] = ()
) -> Matching:
    """Match each secret of the stores to its source. ``typeless`` stores keep values as texts."""
    index = Index(secrets, older)
    matches, questions, unmatched = list[Match](), list[CopyQuestion](), list[str]()
    for inventory in inventories:
        counts = Counter(digest for stored in inventory.secrets for digest in digests_of(stored))
        for stored in inventory.secrets:
            answer = index.judge(stored, counts, loose=stored.store in typeless)
            if isinstance(answer, Match):
                matches.append(answer)
            elif isinstance(answer, CopyQuestion):
                questions.append(answer)
            else:
                unmatched.append(stored.label)
        for name in inventory.names_alone:
            agreeing = sorted(index.names.paths(name))
            if len(agreeing) == 1:
                text = "its name is that of this secret, and the store never gives a value back"
                questions.append(CopyQuestion(inventory.store, name, text, agreeing[0], Form()))
            else:
                unmatched.append(f"{inventory.store}:{name}")
    return Matching(tuple(matches), tuple(questions), tuple(unmatched))


def digests_of(stored: StoredSecret) -> set[str]:
    return {stored.text, *([stored.held.whole] if stored.held else [])}


class Index:
    def __init__(self, secrets: Sequence[PathSecret], older: Older) -> None:
        self.secrets = {secret.path: secret for secret in secrets}
        self.names = Names(secrets)
        self._older = cache(lambda path: tuple(older(path)))
        self._whole: Mapping[str, list[str]] = defaultdict(list)
        self._texts: Mapping[str, list[tuple[str, str]]] = defaultdict(list)
        self._encoded: Mapping[str, list[tuple[str, str]]] = defaultdict(list)
        for path, secret in self.secrets.items():
            for digest in {secret.held.whole, secret.held.texts}:
                self._whole[digest].append(path)
            for name, value in secret.held.fields.items():
                self._texts[value.text].append((path, name))
                self._encoded[value.encoded].append((path, name))

    def judge(self, stored: StoredSecret, counts: Mapping[str, int], *, loose: bool) -> Match | CopyQuestion | None:
        if stored.source:
            return self._marked(stored, loose=loose)
        candidates = [*self._candidates(stored, loose=loose)]
        return (
            self._strong(stored, candidates)
            or self._plain(stored, candidates, counts)
            or self._partial(stored, candidates, loose=loose)
            or self._too_common(stored, candidates)
            or self._left_behind(stored, loose=loose)
        )

    def _marked(self, stored: StoredSecret, *, loose: bool) -> Match | CopyQuestion:
        if stored.source not in self.secrets:
            text = f"it bears Keyturn's marks of {stored.source}, of which nothing was read here"
            return CopyQuestion(stored.store, stored.name, text)
        if stored.catalogue not in UNCLAIMED:
            text = f"the catalogue {stored.catalogue} keeps it: declare it there, or say `adopt: true`"
            return CopyQuestion(stored.store, stored.name, text, stored.source, Form())
        forms = [c.form for c in self._candidates(stored, loose=loose) if c.path == stored.source]
        form = max(forms, key=lambda form: form.rank, default=Form())
        return Match(stored.source, stored, form, "it bears Keyturn's marks of this secret", own=True)

    def _candidates(self, stored: StoredSecret, *, loose: bool) -> Iterator[Candidate]:
        if stored.held:
            for path in self._whole.get(stored.held.whole, ()):
                held = self.secrets[path].held
                if loose or held.whole == stored.held.whole:
                    yield Candidate(path, Form(), held.strength, len(held.fields))
            yield from self._mapped(stored, stored.held, loose=loose)
        for path, name in self._texts.get(stored.text, ()):
            yield Candidate(path, Form(Rank.FIELD, field=name), stored.strength)
        for path, name in self._encoded.get(stored.text, ()):
            strength = self.secrets[path].held.fields[name].strength
            yield Candidate(path, Form(Rank.FIELD, field=name, encoded=True), strength)

    def _mapped(self, stored: StoredSecret, copy: Held, *, loose: bool) -> Iterator[Candidate]:
        for path in self._sharing(copy):
            held = self.secrets[path].held
            pairs = {name: equal_field(name, value, held, loose=loose) for name, value in copy.fields.items()}
            fields = tuple((name, own) for name, own in pairs.items() if own)
            whole = len(fields) == len(held.fields) and all(name == own for name, own in fields)
            if len(fields) == len(pairs) and not whole:
                yield Candidate(path, Form(Rank.FIELDS, fields), copy.strength, len(fields))

    def _sharing(self, copy: Held) -> list[str]:
        telling = (value for value in copy.fields.values() if value.strength > Strength.COMMON)
        places = (self._texts.get(value.text, ()) for value in telling)
        return sorted({path for several in places if len(several) <= MANY for path, _ in several})

    def _strong(self, stored: StoredSecret, candidates: Sequence[Candidate]) -> Match | CopyQuestion | None:
        strong = [candidate for candidate in candidates if candidate.strength is Strength.STRONG]
        return self._best(stored, strong, "it holds the same value")

    def _best(self, stored: StoredSecret, candidates: Sequence[Candidate], why: str) -> Match | CopyQuestion | None:
        if not candidates:
            return None
        rank = max(candidate.form.rank for candidate in candidates)
        best = [candidate for candidate in candidates if candidate.form.rank is rank]
        paths = sorted({candidate.path for candidate in best})
        if len(paths) > 1:
            likely = f"; its name is that of {agreed}" if (agreed := self._agreed(stored.name, paths)) else ""
            text = f"{named_first(paths)} hold this value: which of them is it a copy of{likely}?"
            return CopyQuestion(stored.store, stored.name, text)
        forms = list(dict.fromkeys(candidate.form for candidate in best))
        if len(forms) > 1:
            fields = named_first(sorted(form.field or str(dict(form.fields)) for form in forms))
            text = f"the fields {fields} hold the same value: which of them is it?"
            return CopyQuestion(stored.store, stored.name, text, paths[0], forms[0])
        if unsafe := [own for _, own in (*forms[0].fields, ("", forms[0].field)) if "." in own or names_previous(own)]:
            text = f"the name of the field {unsafe[0]} would be taken for a property of another"
            return CopyQuestion(stored.store, stored.name, text, paths[0])
        return Match(paths[0], stored, forms[0], why)

    def _agreed(self, name: str, paths: Collection[str]) -> str:
        agreeing = self.names.paths(name) & set(paths)
        return next(iter(agreeing)) if len(agreeing) == 1 else ""

    def _plain(
        self, stored: StoredSecret, candidates: Sequence[Candidate], counts: Mapping[str, int]
    ) -> Match | CopyQuestion | None:
        """Judge by plain values, which count only where unique in the hub and the store."""
        plain = [candidate for candidate in candidates if candidate.strength is Strength.PLAIN]
        alone = all(counts[digest] == 1 for digest in digests_of(stored))
        if not plain:
            return None
        answer = self._best(stored, plain, "")
        if not isinstance(answer, Match):
            return answer
        whole = answer.form.rank is Rank.WHOLE and plain[0].count > 1
        named = answer.path in self.names.paths(stored.name)
        if alone and (whole or named):
            why = (
                "it holds all of its fields"
                if whole
                else "it holds the same value, and its name is that of this secret"
            )
            return Match(answer.path, stored, answer.form, f"{why}; no other secret does")
        text = "it holds a value of this secret that others may have by accident: is it a copy?"
        return CopyQuestion(stored.store, stored.name, text, answer.path, answer.form)

    def _partial(self, stored: StoredSecret, candidates: Sequence[Candidate], *, loose: bool) -> CopyQuestion | None:
        near = self._texts.get(stored.trimmed, ()) if stored.strength is Strength.STRONG else ()
        if stored.trimmed != stored.text and near:
            path, name = near[0]
            text = f"it holds the field {name} with white space around it: it would be written without"
            return CopyQuestion(stored.store, stored.name, text, path, Form(Rank.FIELD, field=name))
        copy = stored.held or Held({}, "", "")
        for path in self._sharing(copy):
            held = self.secrets[path].held
            pairs = [(name, value, equal_field(name, value, held, loose=loose)) for name, value in copy.fields.items()]
            if any(own and value.strength is Strength.STRONG for _, value, own in pairs):
                other = named_first([name for name, _, own in pairs if not own])
                text = f"it holds a value of this secret, and under {other} something that this secret does not hold"
                return CopyQuestion(stored.store, stored.name, text, path)
        return None

    def _left_behind(self, stored: StoredSecret, *, loose: bool) -> CopyQuestion | None:
        agreeing = sorted(self.names.paths(stored.name))
        if not agreeing or len(agreeing) > NAMED:
            return None
        for path in agreeing:
            for version, held in self._older(path):
                if (form := form_of(stored, held, loose=loose)) is not None:
                    current = self.secrets[path].version
                    text = f"it differs: it holds version {version} of this secret, and CURRENT is version {current}"
                    return CopyQuestion(stored.store, stored.name, text, path, form)
        if len(agreeing) > 1:
            text = f"its name is that of {named_first(agreeing)}, and it differs from all of them"
            return CopyQuestion(stored.store, stored.name, text)
        text = "it differs: its name is that of this secret, and it holds another value"
        return CopyQuestion(stored.store, stored.name, text, agreeing[0])

    def _too_common(self, stored: StoredSecret, candidates: Sequence[Candidate]) -> CopyQuestion | None:
        paths, agreeing = sorted({candidate.path for candidate in candidates}), self.names.paths(stored.name)
        if not paths or (agreeing and agreeing.isdisjoint(paths)):
            return None  # if its name matches another path, "it differs" is reported instead
        text = f"it holds what {named_first(paths)} holds too, which is no evidence: the value is common"
        return CopyQuestion(stored.store, stored.name, text)


def equal_field(name: str, value: Value, held: Held, *, loose: bool) -> str:
    """Return the field of that name, or the only one that fits, or an empty text."""
    equal = [own for own, other in held.fields.items() if same(value, other, loose=loose)]
    if name in equal or not equal:
        return name if equal else ""
    fitting = [own for own in equal if squeezed(words_of(name)).endswith(squeezed(words_of(own)))]
    # Equal common values such as `true` are accidental, unless the names agree.
    candidates = fitting if len(equal) > 1 or value.strength is Strength.COMMON else equal
    return candidates[0] if len(candidates) == 1 else ""


def same(value: Value, other: Value, *, loose: bool) -> bool:
    """Whether two values are equal; ``loose`` accepts a number as equal to its text."""
    return value.typed == other.typed or (loose and value.text == other.text)


def form_of(stored: StoredSecret, held: Held, *, loose: bool) -> Form | None:
    """Return how a copy is made of a version; None where it is not."""
    if stored.held and stored.held.whole in (held.whole, *([held.texts] if loose else [])):
        return Form()
    if stored.strength is Strength.COMMON:
        return None
    if stored.held:
        pairs = [(n, equal_field(n, value, held, loose=loose)) for n, value in stored.held.fields.items()]
        return Form(Rank.FIELDS, tuple(pairs)) if all(own for _, own in pairs) else None
    fields = [name for name, value in held.fields.items() if value.text == stored.text]
    return Form(Rank.FIELD, field=fields[0]) if len(fields) == 1 else None


def named_first(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


# --- names of stores and paths of the hub, regardless of separators


def words_of(name: str) -> tuple[str, ...]:
    """Return the words of a name in lower case, split at separators and capitals."""
    cut = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    return tuple(word.casefold() for word in re.split(r"[^A-Za-z0-9]+", cut) if word)


def squeezed(words: Iterable[str]) -> str:
    return "".join(words)


def endings(words: Sequence[str]) -> Iterator[str]:
    """Yield all words, and their endings of two or more: folders differ between stores."""
    yield squeezed(words)
    yield from (squeezed(words[begin:]) for begin in range(1, len(words) - 1))


class Names:
    def __init__(self, secrets: Iterable[PathSecret]) -> None:
        by_name: dict[str, set[str]] = defaultdict(set)
        for secret in secrets:
            words = words_of(split(secret.path)[1])
            for more in ((), *(words_of(field) for field in secret.held.fields)):
                for ending in endings((*words, *more)):
                    by_name[ending].add(secret.path)
        self._by_name: Mapping[str, set[str]] = by_name

    def paths(self, name: str) -> frozenset[str]:
        """Return the paths that match a store's name, by the longest ending that matches any."""
        words = words_of(name)
        for ending in endings(words) if words else ():
            if fitting := self._by_name.get(ending):
                return frozenset(fitting)
        return frozenset()
