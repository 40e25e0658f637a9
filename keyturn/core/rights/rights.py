"""What a login needs, as data: rules of the hub's policies, and documents for whoever else gives rights.

Strategies and stores say theirs in their settings; :mod:`keyturn.policies` puts them together and writes them out.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from keyturn.core.ports.grants import GRANT_TOKEN_ROLE
from keyturn.core.workspaces import HOUSE

ANYTHING: Final = "*"
"""What stands for any text, at a rule's end and in names of copies."""
ANY_PART: Final = "+"
"""What stands for any one part of a rule's path."""
TEMPLATE: Final = re.compile(r"\{\{.*\}\}")
"""What the hub fills in, so that nobody can ask about it."""
LEASE_TOKEN_ROLE: Final = "keyturn-lease"
"""The role of the tokens that ask for leases, by default: auth/token/roles."""
PROBE: Final = "keyturn-policy-check"
"""Stands for a name that no rule is about, and that nobody uses."""


@dataclass(frozen=True)
class HubRule:
    """What may be done at a path of the hub: exact, or a beginning with ``*`` after it.

    ``parameters`` are the only ones that a request may have, each with its allowed texts, or with any where there are
    none; without it, all. Source: "Policies" in the documentation of Vault and OpenBao.
    """

    path: str
    capabilities: frozenset[str]
    parameters: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    denied: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Values of parameters that are refused all the same."""

    def __or__(self, other: "HubRule") -> "HubRule":
        """What both allow together, at the one path."""
        names = [*self.parameters, *(name for name in other.parameters if name not in self.parameters)]
        both = {name: _values(self.parameters.get(name), other.parameters.get(name)) for name in names}
        # Requests that only look have none, so a rule for those alone says nothing of them.
        limited = [rule for rule in (self, other) if rule.capabilities & WRITING]
        free = any(not rule.parameters for rule in limited)
        capabilities = self.capabilities | other.capabilities
        return replace(
            self, capabilities=capabilities, parameters={} if free else both, denied={**self.denied, **other.denied}
        )


WRITING: Final = frozenset({"create", "update", "patch"})
"""The capabilities that parameters limit."""


def _values(some: tuple[str, ...] | None, others: tuple[str, ...] | None) -> tuple[str, ...]:
    """The values that are allowed together; none stand for all of them."""
    if some is None or others is None:
        return some if others is None else others  # type: ignore[return-value]  # one of them is there
    return tuple(dict.fromkeys((*some, *others))) if some and others else ()


def allow(path: str, *capabilities: str, **parameters: tuple[str, ...]) -> HubRule:
    """A rule in few words."""
    return HubRule(path, frozenset(capabilities), parameters)


def holds(capabilities: Collection[str], wanted: str) -> bool:
    """Whether a path's capabilities hold this one: ``root`` stands for all of them, and ``deny`` for none."""
    return "deny" not in capabilities and ("root" in capabilities or wanted in capabilities)


@dataclass(frozen=True)
class Section:
    """Rules with one reason."""

    why: str
    rules: tuple[HubRule, ...]


def merged(sections: Iterable[Section]) -> Iterator[Section]:
    """Each reason once, and under it each path once, where it comes first; what is empty is left out."""
    rules, paths = dict[str, HubRule](), dict[str, list[str]]()
    for why, rule in ((section.why, rule) for section in sections for rule in section.rules):
        if rule.path not in rules:
            paths.setdefault(why, []).append(rule.path)
        rules[rule.path] = rules[rule.path] | rule if rule.path in rules else rule
    for why, own in paths.items():
        yield Section(why, tuple(rules[path] for path in own))


class RuleIndex:
    """Rules by their paths, for whoever asks what is allowed at thousands: each secret has rules of its own."""

    def __init__(self, sections: Iterable[Section]) -> None:
        self._exact: dict[str, HubRule] = {}
        self._beginnings: dict[str, HubRule] = {}
        self._patterns: list[tuple[re.Pattern[str], HubRule]] = []
        self._rank: dict[str, int] = {}
        for number, rule in enumerate(rules_of(sections)):
            beginning, whole = rule.path.removesuffix(ANYTHING), not rule.path.endswith(ANYTHING)
            if self._rank.setdefault(rule.path, number) != number:
                continue
            if ANY_PART in beginning:
                self._patterns.append((re.compile(_pattern(beginning, whole=whole)), rule))
            else:
                (self._exact if whole else self._beginnings)[beginning] = rule
        self._lengths = sorted({len(beginning) for beginning in self._beginnings})

    def allowed(self, path: str) -> frozenset[str]:
        """What the rules allow at a path: those of the one that fits it best, as the hub decides it; the first of two
        that fit as well.
        """
        fitting = [rule for pattern, rule in self._patterns if pattern.fullmatch(path)]
        fitting += [self._exact[path]] if path in self._exact else []
        beginnings = (path[:length] for length in self._lengths if length <= len(path))
        fitting += [self._beginnings[beginning] for beginning in beginnings if beginning in self._beginnings]
        best = max(fitting, key=self._how_well, default=None)
        return best.capabilities if best else frozenset()

    def _how_well(self, rule: HubRule) -> tuple[bool, int, int]:
        return not rule.path.endswith(ANYTHING), len(rule.path), -self._rank[rule.path]


def sample(path: str) -> str:
    """A path that a rule is about, since the hub is asked about paths and not about beginnings."""
    return path.replace("/+/", f"/{PROBE}/").removesuffix(ANYTHING) + (PROBE if path.endswith(ANYTHING) else "")


def rules_of(sections: Iterable[Section]) -> Iterator[HubRule]:
    """The rules that the hub can be asked about."""
    return (rule for section in sections for rule in section.rules if not TEMPLATE.search(rule.path))


def _pattern(beginning: str, *, whole: bool) -> str:
    return re.escape(beginning).replace(re.escape(ANY_PART), "[^/]+") + ("" if whole else ".*")


@dataclass(frozen=True)
class HubPlaces:
    """Where things are in the hub, and by which names."""

    mount: str = "secret"
    state_mount: str = "keyturn"
    transit_mount: str = "transit"
    lease_token_role: str = LEASE_TOKEN_ROLE
    mounts: Mapping[str, str] = field(default_factory=dict)
    """The paths of further mounts of secrets, by their names."""
    grant_token_role: str = GRANT_TOKEN_ROLE
    token_addresses: tuple[str, ...] = ()
    """The networks that tokens of both roles work from; none for those of the logins that make them."""
    house: str = HOUSE
    """What the names of policies and of Keyturn's own AppRoles begin with: the workspace's own name."""

    def named(self, name: str) -> str:
        """What a policy or an AppRole of that name is called for this workspace: several may share a namespace."""
        if self.house == HOUSE:
            return name
        return f"{self.house}{name.removeprefix(HOUSE)}" if name.startswith(f"{HOUSE}-") else f"{self.house}-{name}"


@dataclass(frozen=True)
class Document:
    """A file that gives a login its rights, whole."""

    name: str
    text: str


@dataclass(frozen=True)
class CopyRights:
    """What is done with copies in one store: their names, in which ``*`` is any text, and what is asked of them.

    ``foreign`` are names of secrets that may be others' and carry no mark of Keyturn's: those that are adopted, and
    those that keys are merged into. ``file`` is what the documents' names begin with, ``origin`` says of what they are
    made.
    """

    file: str
    origin: str
    names: tuple[str, ...]
    foreign: tuple[str, ...] = ()
    deletes: bool = False
    merges: bool = False
    tags: bool = False
    describes: bool = False
    departed: bool = False
    """Whether copies are deleted that nothing names any more."""

    def of(self, names: tuple[str, ...], file: str) -> "CopyRights":
        """The same for some of the names."""
        return replace(self, names=names, foreign=tuple(name for name in self.foreign if name in names), file=file)


@dataclass(frozen=True)
class AccountRights:
    """Whose credentials are made and ended at one target: the accounts' names, as the secrets' rotations say them.

    ``file`` is what the documents' names begin with, ``origin`` says of what they are made.
    """

    file: str
    origin: str
    names: tuple[str, ...]


@dataclass(frozen=True)
class Verdict:
    """What the other side says of one call of the login in use, at one place.

    ``needed`` are those that the rendered documents allow. ``allowed`` is None where nobody could look. ``why`` says
    what it is needed for, or why nobody could look.
    """

    call: str
    place: str
    needed: bool
    allowed: bool | None
    why: str = ""
    askable: bool = True
    """Whether the other side tells it at all, so that another login could be told."""
