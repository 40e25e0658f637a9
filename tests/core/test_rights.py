"""Which policy rule decides at a path, also with thousands of rules."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyturn.core.rights.rights import HubPlaces, HubRule, RuleIndex, Section, allow
from keyturn.rights.check import compare, paths_to_ask
from keyturn.rights.roles import needed
from keyturn.rights.scope import HubScope, SecretPath
from tests.support import sampling

PARTS = st.sampled_from(["a", "b", "ab", "+", "a+", ""])
PATHS = st.lists(PARTS, min_size=1, max_size=4).map("/".join)
RULES = st.lists(st.tuples(PATHS, st.sampled_from(["", "*"])), max_size=8)
SECRETS = 3_000


def decided_by_hand(rules: list[HubRule], path: str) -> frozenset[str]:
    """Each rule is tried, as the documentation of the hub tells it."""
    fitting = [
        rule for rule in rules if re.fullmatch(re.escape(rule.path).replace(r"\+", "[^/]+").replace(r"\*", ".*"), path)
    ]
    best = max(fitting, key=lambda rule: (not rule.path.endswith("*"), len(rule.path)), default=None)
    return best.capabilities if best else frozenset()


@settings(max_examples=sampling.examples(100, 1000))
@given(RULES, st.lists(PATHS, min_size=1, max_size=6))
def test_the_rule_that_fits_best_decides(spelled: list[tuple[str, str]], asked: list[str]) -> None:
    rules = [allow(path + end, f"capability-{number}") for number, (path, end) in enumerate(spelled)]
    index = RuleIndex([Section("one", tuple(rules[:3])), Section("other", tuple(rules[3:]))])
    for path in asked:
        assert index.allowed(path) == decided_by_hand(rules, path)


@pytest.mark.attack
def test_a_login_with_rules_for_thousands_of_secrets_is_compared_path_by_path() -> None:
    """Rules that are tried at each path, one after the other, are some hundred million tries here."""
    secrets = tuple(SecretPath("secret", f"team-{number % 50}/s{number}") for number in range(SECRETS))
    scope = HubScope(HubPlaces(), secrets)
    sections = needed(scope, "worker")
    held = {path: frozenset({"read", "sudo"}) for path in paths_to_ask(scope, sections)}
    beyond = {(finding.path, finding.capability) for finding in compare(scope, sections, held).beyond}
    current = f"secret/data/{secrets[-1].path}"
    assert (current, "sudo") in beyond
    assert (current, "read") not in beyond, "a rule of its own allows it"
