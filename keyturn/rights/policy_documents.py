"""The documents that grant rights to logins: one file each, identical for the same catalogue."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from keyturn.catalogue.models import Catalogue
from keyturn.core.errors import Invalid
from keyturn.core.rights.hcl import comment, policy
from keyturn.core.rights.rights import Document, Section
from keyturn.rights import accounts, copies, hub_policies
from keyturn.rights.scope import EVERYTHING, HubScope

MADE: Final = "keyturn setup store"
"""The mark in every document, which distinguishes it from people's files."""
FORMERLY_MADE: Final = "keyturn policy render"
"""The same, as earlier releases wrote it."""


@dataclass(frozen=True)
class Origin:
    """The source of the documents: the digest of a catalogue, or none for one that may do everything."""

    digest: str = ""

    def __str__(self) -> str:
        if not self.digest:
            return (
                f"Made by `{MADE} --everything`: what a catalogue needs that may do everything, for the mounts"
                " `secret`, `keyturn`, `transit`, `database` and `pki`. Without the option it is narrowed to yours."
            )
        return f"Made by `{MADE}` from the catalogue sha256:{self.digest}. Change the catalogue and render again."


def hub_documents(scope: HubScope, origin: Origin) -> Iterator[Document]:
    for role, about in hub_policies.ABOUT.items():
        if role != hub_policies.CONSUMER:
            yield from _hub_document(scope, origin, role, role, about)
    for role in scope.approles:
        yield _named(
            hub_policies.login_policy(role),
            hub_policies.about_own_login(role),
            origin,
            [hub_policies.own_secret_ids(role)],
        )
    for name in scope.consumers:
        role, file = (
            (f"{hub_policies.CONSUMER}:{name}", f"{hub_policies.CONSUMER}-{name}")
            if name
            else (f"{hub_policies.CONSUMER}:", hub_policies.CONSUMER)
        )
        yield from _hub_document(scope, origin, role, file, hub_policies.ABOUT[hub_policies.CONSUMER])


def _hub_document(scope: HubScope, origin: Origin, role: str, file: str, about: str) -> Iterator[Document]:
    if rules := hub_policies.sections(scope, role):
        yield _named(scope.places.named(file), about, origin, rules)


def _named(name: str, about: str, origin: Origin, rules: Sequence[Section]) -> Document:
    return Document(f"{name}.hcl", f"{comment(about)}\n{comment(str(origin))}\n\n{policy(rules)}")


def rendered(scope: HubScope, catalogue: Catalogue, digest: str) -> list[Document]:
    """Return all documents, sorted by name. Raises Invalid where two have the same name."""
    origin = Origin(digest)
    made = [
        *hub_documents(scope, origin),
        *copies.store_documents(catalogue, str(origin)),
        *accounts.target_documents(catalogue, str(origin)),
    ]
    in_clouds = (("notices", catalogue.consumers), ("key", catalogue.keys), ("access-log", catalogue.access_logs))
    for prefix, entries in in_clouds:
        made += [each for name, entry in entries.items() for each in entry.rights(f"{prefix}-{name}", str(origin))]
    made.sort(key=lambda document: document.name)
    if twice := next((first.name for first, second in pairwise(made) if first.name == second.name), None):
        problem = "two stores, or two targets, have names that make the same file of it"
        raise Invalid("render", twice, problem, "Give one of them another name in the catalogue")
    return made


def was_made(text: str) -> bool:
    return any(name in text or name.replace(" ", "") in text for name in (MADE, FORMERLY_MADE))


def everything() -> list[Document]:
    origin, brief = Origin(), f"Made by {MADE} everything"
    made = (*hub_documents(EVERYTHING, origin), *copies.everything(brief), *accounts.every_target(brief))
    return sorted(made, key=lambda document: document.name)
