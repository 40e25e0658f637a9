"""A login's required rights as data: hub policy rules, and documents for other systems.

Strategies and stores declare theirs in their settings; :mod:`keyturn.policies` combines them.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from keyturn.core.ports.grants import GRANT_TOKEN_ROLE
from keyturn.core.workspaces import HOUSE

ANYTHING: Final = "*"
"""Matches any text, at a rule's end and in names of copies."""
ANY_PART: Final = "+"
"""Matches any one part of a rule's path."""
TEMPLATE: Final = re.compile(r"\{\{.*\}\}")
"""Templates that the hub fills in, so such paths can't be queried."""
LEASE_TOKEN_ROLE: Final = "keyturn-lease"
"""The default role of the tokens that request leases: auth/token/roles."""
PROBE: Final = "keyturn-policy-check"
"""Placeholder name that no rule mentions."""


@dataclass(frozen=True)
class HubRule:
    """Allowed capabilities at a hub path, or at a prefix followed by ``*``.

    ``parameters`` are the only ones allowed, each with the listed values or any; empty allows all. Source: "Policies"
    in the documentation of Vault and OpenBao.
    """

    path: str
    capabilities: frozenset[str]
    parameters: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    denied: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Parameter values that are refused nevertheless."""

    def __or__(self, other: "HubRule") -> "HubRule":
        """The union of both rules for the same path."""
        names = [*self.parameters, *(name for name in other.parameters if name not in self.parameters)]
        both = {name: _values(self.parameters.get(name), other.parameters.get(name)) for name in names}
        # Read requests have no parameters, so a read-only rule does not restrict them.
        limited = [rule for rule in (self, other) if rule.capabilities & WRITING]
        free = any(not rule.parameters for rule in limited)
        capabilities = self.capabilities | other.capabilities
        return replace(
            self, capabilities=capabilities, parameters={} if free else both, denied={**self.denied, **other.denied}
        )


WRITING: Final = frozenset({"create", "update", "patch"})
"""Capabilities that parameters restrict."""


def _values(some: tuple[str, ...] | None, others: tuple[str, ...] | None) -> tuple[str, ...]:
    """The union of allowed values; an empty tuple allows all."""
    if some is None or others is None:
        return some if others is None else others  # type: ignore[return-value]  # one of them is there
    return tuple(dict.fromkeys((*some, *others))) if some and others else ()


def allow(path: str, *capabilities: str, **parameters: tuple[str, ...]) -> HubRule:
    """Return a rule."""
    return HubRule(path, frozenset(capabilities), parameters)


def holds(capabilities: Collection[str], wanted: str) -> bool:
    """Whether a path's capabilities include this one: ``root`` means all, ``deny`` none."""
    return "deny" not in capabilities and ("root" in capabilities or wanted in capabilities)


@dataclass(frozen=True)
class Section:
    """Rules with one reason."""

    why: str
    rules: tuple[HubRule, ...]


def merged(sections: Iterable[Section]) -> Iterator[Section]:
    """Each reason once with its rules, each path merged at its first occurrence, without empty sections."""
    rules, paths = dict[str, HubRule](), dict[str, list[str]]()
    for why, rule in ((section.why, rule) for section in sections for rule in section.rules):
        if rule.path not in rules:
            paths.setdefault(why, []).append(rule.path)
        rules[rule.path] = rules[rule.path] | rule if rule.path in rules else rule
    for why, own in paths.items():
        yield Section(why, tuple(rules[path] for path in own))


class RuleIndex:
    """Rules indexed by path, for checks of thousands of paths."""

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
        """The capabilities of the best match, chosen as the hub does; the first of equals."""
        fitting = [rule for pattern, rule in self._patterns if pattern.fullmatch(path)]
        fitting += [self._exact[path]] if path in self._exact else []
        beginnings = (path[:length] for length in self._lengths if length <= len(path))
        fitting += [self._beginnings[beginning] for beginning in beginnings if beginning in self._beginnings]
        best = max(fitting, key=self._how_well, default=None)
        return best.capabilities if best else frozenset()

    def _how_well(self, rule: HubRule) -> tuple[bool, int, int]:
        return not rule.path.endswith(ANYTHING), len(rule.path), -self._rank[rule.path]


def sample(path: str) -> str:
    """A path that matches the rule, since the hub reports on paths, not prefixes."""
    return path.replace("/+/", f"/{PROBE}/").removesuffix(ANYTHING) + (PROBE if path.endswith(ANYTHING) else "")


def rules_of(sections: Iterable[Section]) -> Iterator[HubRule]:
    """The rules that the hub can be queried about."""
    return (rule for section in sections for rule in section.rules if not TEMPLATE.search(rule.path))


def _pattern(beginning: str, *, whole: bool) -> str:
    return re.escape(beginning).replace(re.escape(ANY_PART), "[^/]+") + ("" if whole else ".*")


@dataclass(frozen=True)
class HubPlaces:
    """Mounts and names in the hub."""

    mount: str = "secret"
    state_mount: str = "keyturn"
    transit_mount: str = "transit"
    lease_token_role: str = LEASE_TOKEN_ROLE
    mounts: Mapping[str, str] = field(default_factory=dict)
    """Paths of further mounts of secrets, by name."""
    grant_token_role: str = GRANT_TOKEN_ROLE
    token_addresses: tuple[str, ...] = ()
    """Networks that both roles' tokens are bound to; empty for the creating login's."""
    house: str = HOUSE
    """Prefix of policies and of Keyturn's AppRoles: the workspace's name."""

    def named(self, name: str) -> str:
        """The workspace's name for a policy or AppRole, since several may share a namespace."""
        if self.house == HOUSE:
            return name
        return f"{self.house}{name.removeprefix(HOUSE)}" if name.startswith(f"{HOUSE}-") else f"{self.house}-{name}"


@dataclass(frozen=True)
class Document:
    """A complete file that grants a login its rights."""

    name: str
    text: str


@dataclass(frozen=True)
class CopyRights:
    """What is done with copies in one store; ``names`` may contain ``*`` for any text.

    ``foreign`` are names of secrets without Keyturn's mark: adopted ones, and those with merged keys. ``file`` prefixes
    document names, ``origin`` is their source.
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
    """Whether copies no longer in the catalogue are deleted."""

    def of(self, names: tuple[str, ...], file: str) -> "CopyRights":
        """The same rights for some of the names."""
        return replace(self, names=names, foreign=tuple(name for name in self.foreign if name in names), file=file)


@dataclass(frozen=True)
class AccountRights:
    """Accounts whose credentials are created and ended at one target.

    ``file`` prefixes document names, ``origin`` is their source.
    """

    file: str
    origin: str
    names: tuple[str, ...]


@dataclass(frozen=True)
class Verdict:
    """Another system's report on one call of the login at one place.

    ``needed``: the rendered documents allow it. ``allowed`` is None if unknown. ``why`` is the purpose or the check's
    failure.
    """

    call: str
    place: str
    needed: bool
    allowed: bool | None
    why: str = ""
    askable: bool = True
    """Whether the other system can report it at all."""
