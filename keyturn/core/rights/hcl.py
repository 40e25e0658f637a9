"""Hub policies as text. Source: "Policy syntax" in the documentation of Vault and OpenBao."""

import json
import textwrap
from collections.abc import Iterable, Iterator
from typing import Final

from keyturn.core.rights.rights import HubRule, Section

ORDER: Final = ("create", "read", "update", "patch", "delete", "list", "sudo", "deny")
"""The conventional order of capabilities."""
WIDTH: Final = 118


def policy(sections: Iterable[Section]) -> str:
    """The policy text, with each section under its reason."""
    return "\n\n".join("\n".join((comment(section.why), *map(_rule, section.rules))) for section in sections) + "\n"


def comment(text: str) -> str:
    """Return comment lines with a number sign; an empty text gives an empty comment."""
    lines = [line for part in text.split("\n") for line in textwrap.wrap(part, WIDTH - 2) or [""]]
    return "\n".join(f"# {line}".rstrip() for line in lines)


def _rule(rule: HubRule) -> str:
    return "\n".join((f"path {json.dumps(rule.path)} {{", *_body(rule), "}"))


def _body(rule: HubRule) -> Iterator[str]:
    capabilities = [capability for capability in ORDER if capability in rule.capabilities]
    yield f"  capabilities = {json.dumps(capabilities)}"
    for name, parameters in (("allowed", rule.parameters), ("denied", rule.denied)):
        if parameters:
            yield f"  {name}_parameters = {{"
            yield from (f"    {json.dumps(key)} = {json.dumps(list(values))}" for key, values in parameters.items())
            yield "  }"
