"""The rights of a login in a second Vault or OpenBao, compared with a store's needs."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any, Final

from keyturn.core.rights import vault_store_rights
from keyturn.core.rights.rights import (
    ANYTHING,
    PROBE,
    CopyRights,
    RuleIndex,
    Section,
    Verdict,
    holds,
    merged,
    rules_of,
    sample,
)
from keyturn.providers.vault.store import VaultStore

POWERS: Final = ("sys/policies/acl", "sys/mounts", "sys/auth", "auth/token/create", "auth/approle/role", "sys/raw")
KINDS: Final = ("data", "metadata", "delete", "undelete", "destroy")


def ask_second_vault(
    name: str, copies: CopyRights, revoking: bool, *, mount: str, **settings: Any
) -> Iterator[Verdict]:
    """Needed rights first, then any further ones. Changes nothing. Raises Denied, Unavailable."""
    made = [*vault_store_rights.sections(mount, copies)]
    if revoking:
        made += vault_store_rights.emergency_sections(mount, copies)
    sections = list(merged(made))
    with closing(VaultStore(name, mount=mount, **settings)) as store:
        yield from verdicts(sections, store.capabilities(paths_to_ask(mount, copies, sections)))


def paths_to_ask(mount: str, copies: CopyRights, sections: Sequence[Section]) -> list[str]:
    needed = (sample(rule.path) for rule in rules_of(sections))
    powers = (f"{path}/{PROBE}" for path in POWERS)
    others = (f"{mount}/{kind}/{name}" for kind in KINDS for name in (PROBE, *map(sample, copies.names)))
    return list(dict.fromkeys((*needed, f"{mount}/config", "auth/token/create", *powers, *others)))


def verdicts(sections: Sequence[Section], held: dict[str, frozenset[str]]) -> Iterator[Verdict]:
    for section in sections:
        for rule in rules_of([section]):
            for wanted in sorted(rule.capabilities):
                may = holds(held[sample(rule.path)], wanted)
                yield Verdict(wanted, rule.path, needed=True, allowed=may, why=section.why)
    if any("root" in own for own in held.values()):
        yield Verdict("root", ANYTHING, needed=False, allowed=True)
        return
    index = RuleIndex(sections)
    for path, own in held.items():
        for beyond in sorted(own - {"deny"} - index.allowed(path)):
            yield Verdict(beyond, path, needed=False, allowed=True)
