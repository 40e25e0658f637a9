"""Rights for a second Vault or OpenBao as a store: policy rules and policies.

Source: "KV secrets engine version 2 (API)" of Vault and OpenBao.
"""

from collections.abc import Iterator

from keyturn.core.rights.hcl import comment, policy
from keyturn.core.rights.rights import ANYTHING, CopyRights, Document, HubRule, Section, allow, merged

ABOUT = (
    "What a Keyturn worker may do in a second Vault or OpenBao that is a store (kind `vault`). It can neither destroy"
    " versions nor remove a secret with its history."
)
BESIDES = "For emergencies, in addition to {file}: removes old versions and whole copies for good."


def sections(mount: str, copies: CopyRights) -> Iterator[Section]:
    """Yield the everyday rules for the copies."""
    if not copies.names:
        return
    named = _beginnings(copies.names)
    listed = (f"{mount}/metadata/{ANYTHING}",)
    yield Section(
        "Its own token: look up its lifetime and rights, and renew it. The policy `default` allows it too.",
        (
            allow("auth/token/lookup-self", "read"),
            allow("auth/token/renew-self", "update"),
            allow("sys/capabilities-self", "update"),
        ),
    )
    yield Section(
        "The copies: write new versions, read them to compare.",
        tuple(allow(f"{mount}/data/{name}", "create", "read", "update") for name in named),
    )
    yield Section(
        "Whose a copy is and which version it serves. Of the settings of a secret the custom metadata alone are"
        " changed: not how many versions are kept or how long.",
        tuple(_metadata(mount, name) for name in named),
    )
    yield Section(
        "What there is, by names and metadata, without values. OpenBao lists a thousand secrets in one "
        "answer of detailed-metadata; Vault has no such path, and each secret's metadata is read there.",
        (
            *(allow(path, "read", "list") for path in listed),
            allow(f"{mount}/detailed-metadata/{ANYTHING}", "list"),
        ),
    )
    yield from _deletion(mount, copies, named)


def _metadata(mount: str, name: str) -> HubRule:
    """The metadata rule; for a prefix it also allows listing, since it decides that."""
    listing = ("list",) if name.endswith(ANYTHING) else ()
    return allow(f"{mount}/metadata/{name}", "create", "read", "update", "patch", *listing, custom_metadata=())


def _deletion(mount: str, copies: CopyRights, named: tuple[str, ...]) -> Iterator[Section]:
    if copies.departed:
        yield Section(
            "Deleting what the catalogue names no more, which undelete takes back.",
            (
                allow(f"{mount}/delete/{ANYTHING}", "update"),
                allow(f"{mount}/metadata/{ANYTHING}", "patch", custom_metadata=()),
                *((allow(f"{mount}/data/{ANYTHING}", "create", "read", "update"),) if copies.merges else ()),
            ),
        )
    elif copies.deletes:
        yield Section(
            "Deleting, which undelete takes back.",
            tuple(allow(f"{mount}/delete/{name}", "update") for name in named),
        )


def emergency_sections(mount: str, copies: CopyRights) -> Iterator[Section]:
    """Yield the additional rules that revocation requires."""
    named = _beginnings(copies.names)
    yield Section(
        "Old versions, for good.", tuple(allow(f"{mount}/destroy/{name}", "update", versions=()) for name in named)
    )
    yield Section("Whole copies, for good.", tuple(allow(f"{mount}/metadata/{name}", "delete") for name in named))


def store_policies(mount: str, copies: CopyRights) -> Iterator[Document]:
    """Yield the everyday policy and the emergency policy."""
    for name, about, made in (
        (copies.file, ABOUT, sections(mount, copies)),
        (f"{copies.file}-revoker", BESIDES.format(file=f"{copies.file}.hcl"), emergency_sections(mount, copies)),
    ):
        if rules := list(merged(made)):
            yield Document(f"{name}.hcl", f"{comment(about)}\n{comment(copies.origin)}\n\n{policy(rules)}")


def _beginnings(names: tuple[str, ...]) -> tuple[str, ...]:
    """The names as rule paths, which allow a wildcard only at the end."""
    parts = (name.partition(ANYTHING) for name in names)
    return tuple(dict.fromkeys(f"{beginning}{wildcard}" for beginning, wildcard, _ in parts))
