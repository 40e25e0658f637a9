"""Whether a policy of the hub allows a request, read as the hub reads policies.

Source: "Policies" in the documentation of Vault and OpenBao, with the priority of rules within one policy.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

TOKEN: Final = re.compile(
    r"""(?P<space>\s+|\#[^\n]*|//[^\n]*|/\*.*?\*/)|(?P<text>"(?:[^"\\\n]|\\.)*")"""
    r"""|(?P<mark>[{}\[\]=,:])|(?P<word>[^\s{}\[\]=,:"]+)""",
    re.DOTALL,
)
SEGMENT: Final = "[^/]+"
TEMPLATE: Final = re.compile(r"\{\{[^}]*\}\}")
OLD: Final[Mapping[str, tuple[str, ...]]] = {
    "deny": ("deny",),
    "read": ("read", "list"),
    "write": ("create", "read", "update", "delete", "list"),
    "sudo": ("create", "read", "update", "delete", "list", "sudo"),
}
"""The capabilities of `policy = "…"`, the notation before capabilities."""


@dataclass(frozen=True)
class AclRule:
    """A path of a policy with its capabilities; ``+`` is one segment, and ``*`` at the end is any rest."""

    path: str
    capabilities: frozenset[str]
    pattern: re.Pattern[str] = field(compare=False, repr=False)

    @staticmethod
    def of(path: str, capabilities: frozenset[str]) -> "AclRule":
        """Return a rule; a template in its path matches any text."""
        return AclRule(path, capabilities, _pattern(path.removeprefix("/")))

    @property
    def weight(self) -> tuple[int, bool, int, int, str]:
        wild = re.search(r"[+*]", self.path)
        first = wild.start() if wild else len(self.path) + 1
        return first, not self.path.endswith("*"), -self.path.count("+"), len(self.path), self.path


def policy_allows(rules: list[AclRule], path: str, capability: str) -> bool:
    """Whether a login with only this policy may do that at a path, which begins with its mount."""
    matching = [rule for rule in rules if rule.pattern.fullmatch(path)]
    if not matching:
        return False
    granted = max(matching, key=lambda rule: rule.weight).capabilities
    return capability in granted and "deny" not in granted


def parse_policy(text: str) -> list[AclRule]:
    """Return the rules of a policy in HCL or JSON. Raises ValueError for anything else."""
    members = _json(text) if text.lstrip().startswith("{") else list(_hcl(text))
    merged: dict[str, frozenset[str]] = {}
    for path, body in members:
        merged[path] = merged.get(path, frozenset()) | _granted(body)
    return [AclRule.of(path, capabilities) for path, capabilities in merged.items()]


def _granted(body: Mapping[str, Any]) -> frozenset[str]:
    capabilities, old = body.get("capabilities", []), body.get("policy")
    if not isinstance(capabilities, list):
        raise ValueError("its capabilities are no list")
    return frozenset(map(str, capabilities)) | frozenset(OLD.get(str(old), ()) if old is not None else ())


def _pattern(path: str) -> re.Pattern[str]:
    glob = path.endswith("*")
    parts = TEMPLATE.sub("\0", path.removesuffix("*") if glob else path).split("/")
    segments = [SEGMENT if part == "+" else SEGMENT.join(map(re.escape, part.split("\0"))) for part in parts]
    return re.compile("/".join(segments) + (".*" if glob else ""), re.DOTALL)


def _json(text: str) -> list[tuple[str, Mapping[str, Any]]]:
    document = json.loads(text)
    paths: Any = document.get("path", {}) if isinstance(document, dict) else None
    parts: list[Any] = paths if isinstance(paths, list) else [paths]
    if not all(isinstance(part, dict) for part in parts):
        raise ValueError("it is no policy")
    members = [member for part in parts for member in part.items()]
    if not all(isinstance(body, dict) for _, body in members):
        raise ValueError("it is no policy")
    return members


def _hcl(text: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    tokens = _Tokens(text)
    while not tokens.ended:
        word = tokens.take()
        if word != "path":
            tokens.skip_value()
            continue
        path = tokens.text()
        tokens.insist("{")
        yield path, dict(_body(tokens))


def _body(tokens: "_Tokens") -> Iterator[tuple[str, Any]]:
    while (key := tokens.take()) != "}":
        if key == ",":
            continue
        name = json.loads(key) if key.startswith('"') else key
        yield name, tokens.value()


class _Tokens:
    """The tokens of a policy. Every method raises ValueError at a premature end."""

    def __init__(self, text: str) -> None:
        self._tokens = list(_tokens(text))
        self._at = 0

    @property
    def ended(self) -> bool:
        return self._at >= len(self._tokens)

    def take(self) -> str:
        if self.ended:
            raise ValueError("it breaks off")
        self._at += 1
        return self._tokens[self._at - 1]

    def insist(self, mark: str) -> None:
        if self.take() != mark:
            raise ValueError(f"a {mark} is missing")

    def text(self) -> str:
        token = self.take()
        if not token.startswith('"'):
            raise ValueError("a text is missing")
        return str(json.loads(token))

    def value(self) -> Any:
        token = self.take()
        if token in "=:":
            token = self.take()
        if token == "[":
            return list(self._items())
        if token == "{":
            return dict(_body(self))
        return json.loads(token) if token.startswith('"') else token

    def skip_value(self) -> None:
        if self._at < len(self._tokens) and self._tokens[self._at].startswith('"'):
            self.take()
        self.value()

    def _items(self) -> Iterator[Any]:
        while (token := self.take()) != "]":
            if token != ",":
                yield json.loads(token) if token.startswith('"') else token


def _tokens(text: str) -> Iterator[str]:
    at = 0
    while at < len(text):
        match = TOKEN.match(text, at)
        if match is None:
            raise ValueError("it holds what is no policy")
        at = match.end()
        if match.lastgroup != "space":
            yield match[0]
