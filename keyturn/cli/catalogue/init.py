"""``keyturn init``: a catalogue from what the hub, the stores and the targets hold."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import typer

from keyturn.cli.environment import insist_on_hub
from keyturn.cli.failures import FAILED, end_command
from keyturn.cli.options import JsonOption
from keyturn.cli.output import note, write_json, write_text
from keyturn.core.errors import KeyturnError, TransientError

if TYPE_CHECKING:
    from keyturn.catalogue import Catalogue
    from keyturn.catalogue.stores import StoreSettings
    from keyturn.inventory.conversion import Conversion
    from keyturn.inventory.draft import Draft

T = TypeVar("T")

CLASSES: Final = ("public", "internal", "confidential", "restricted")

OutputOption = Annotated[Path, typer.Option("--out", metavar="DIR", help="The directory of the catalogue.")]
AnswersOption = Annotated[
    str, typer.Option("--owner", metavar="ADDRESS", help="Who answers for what the hub names no owner of.")
]
ClassOption = Annotated[
    str, typer.Option("--classification", metavar="CLASS", help="public, internal, confidential or restricted.")
]
StoresOption = Annotated[
    Path | None, typer.Option("--stores", metavar="FILE", help="A file of a catalogue: stores, targets and mounts.")
]
AwsOption = Annotated[str, typer.Option("--aws", metavar="REGION", help="AWS Secrets Manager, as the store aws.")]
SsmOption = Annotated[str, typer.Option("--ssm", metavar="REGION", help="AWS Parameter Store, as the store ssm.")]
AzureOption = Annotated[str, typer.Option("--azure", metavar="URL", help="An Azure Key Vault, as the store azure.")]
GcpOption = Annotated[str, typer.Option("--gcp", metavar="PROJECT", help="GCP Secret Manager, as the store gcp.")]
ClusterOption = Annotated[
    str, typer.Option("--kubernetes", metavar="NAMESPACE", help="Secrets of a namespace, as the store cluster.")
]
SERVER: Final = "NAME=HOST[:PORT]/DATABASE"
PostgresqlOption = Annotated[
    list[str] | None,
    typer.Option("--postgresql", metavar=SERVER, help="A server; its admin's login is the hub's targets/NAME."),
]
MysqlOption = Annotated[
    list[str] | None, typer.Option("--mysql", metavar=SERVER, help="The same, of MySQL or MariaDB.")
]
MountOption = Annotated[
    list[str] | None, typer.Option("--mount", metavar="NAME=MOUNT", help="One more KV mount of the hub.")
]
BelowOption = Annotated[
    list[str] | None, typer.Option("--below", metavar="FOLDER", help="Only this folder of the hub, and all within it.")
]
FromOption = Annotated[
    list[Path] | None,
    typer.Option("--from", metavar="FILE", help="Convert this file of another tool instead of looking around."),
]
AdoptOption = Annotated[
    bool, typer.Option("--adopt", help="With --from: overwrite what is there with what the hub holds.")
]
ForceOption = Annotated[bool, typer.Option("--force", help="Overwrite files of DIR that were edited.")]


def init(
    output: OutputOption,
    owner: AnswersOption,
    classification: ClassOption = "confidential",
    stores: StoresOption = None,
    aws: AwsOption = "",
    ssm: SsmOption = "",
    azure: AzureOption = "",
    gcp: GcpOption = "",
    kubernetes: ClusterOption = "",
    postgresql: PostgresqlOption = None,
    mysql: MysqlOption = None,
    mount: MountOption = None,
    below: BelowOption = None,
    source: FromOption = None,
    adopt: AdoptOption = False,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write a catalogue of what the hub holds, and of the copies of it in the stores.

    Values are read to be compared, by fingerprints under a key that ends with the process; none is shown or written.
    Nothing is changed in the hub, a store or a target, and nothing that is declared is rotated. Ends with 1 where
    something can't be read: the rest is written. With --from neither hub nor stores are asked.
    """
    insist_on_answers(owner, classification)
    if adopt and not source:
        raise typer.BadParameter("--adopt goes with --from: without it, what holds the hub's value is adopted")

    from keyturn.inventory import given
    from keyturn.inventory.directory import insist_on_unedited
    from keyturn.inventory.draft import SECRETS_FILE

    words = {"aws": aws, "ssm": ssm, "azure": azure, "gcp": gcp, "cluster": kubernetes}
    servers = (given.databases("postgresql", postgresql or []), given.databases("mysql", mysql or []))
    places = given.merged_places(given.short_stores(words), *servers, given.mounts(mount or []))
    texts = given.given_texts(output, stores, places)
    declared = given.declared_places(output, texts, SECRETS_FILE, os.environ)
    converted = converted_from(source, declared) if source else None
    if converted and (more := given.places_to_declare(converted.told, declared)):
        texts |= given.given_texts(output, None, given.merged_places(places, more))
        declared = given.declared_places(output, texts, SECRETS_FILE, os.environ)
    if not force:
        insist_on_unedited(output, [*texts, SECRETS_FILE])
    if converted:
        draft = drafted_from(converted, declared, owner, classification, adopt=adopt)
    else:
        draft = look_around(declared, owner, classification, below or [])
    write_draft(output, texts, draft, as_json)


def insist_on_answers(owner: str, classification: str) -> None:
    """Reports wrong usage without an owner, or with an unknown classification."""
    if classification not in CLASSES:
        raise typer.BadParameter(f"--classification is one of {', '.join(CLASSES)}")
    if not owner.strip():
        raise typer.BadParameter("--owner is who answers for these secrets, as an address that reaches them")


def converted_from(files: Sequence[Path], declared: "Catalogue") -> "Conversion":
    from keyturn.inventory.converting import convert_files
    from keyturn.inventory.eso_stores import HubPlace

    env, mounts = os.environ, {mount: name for name, mount in declared.mount_paths.items()}
    where = env.get("VAULT_ADDR", ""), env.get("VAULT_NAMESPACE", "").strip("/")
    hub = HubPlace(env.get("KEYTURN_HUB_MOUNT", "secret"), *where, mounts)
    stores = {name: store_place(settings) for name, settings in declared.stores.items()}
    return convert_files(files, hub, {**dict.fromkeys(declared.groups, ""), **stores})


def store_place(settings: "StoreSettings") -> str:
    words = (getattr(settings, key, None) for key in ("region", "vault_url", "project"))
    return next((str(word).rstrip("/") for word in words if word), "")


def drafted_from(
    converted: "Conversion", declared: "Catalogue", owner: str, classification: str, *, adopt: bool
) -> "Draft":
    """Convert the files' secrets to a catalogue draft."""
    from keyturn.inventory.conversion import draft_conversion
    from keyturn.inventory.drafting import Defaults

    return draft_conversion(converted, declared, Defaults(owner, classification), adopt=adopt)


def look_around(declared: "Catalogue", owner: str, classification: str, below: Sequence[str]) -> "Draft":
    """Compare what the hub, stores and targets hold. Raises KeyturnError if the hub cannot be read."""
    insist_on_hub()

    from keyturn.inventory.accounts import take_target_inventories
    from keyturn.inventory.draft import draft_catalogue
    from keyturn.inventory.drafting import Defaults
    from keyturn.inventory.hub_inventory import older_versions, take_hub_inventory
    from keyturn.inventory.store_inventory import take_store_inventories
    from keyturn.inventory.values import Digests
    from keyturn.providers.vault.hub import VaultHub
    from keyturn.settings.hub import HubSettings
    from keyturn.wiring.registry import open_store, open_target

    whole = VaultHub(HubSettings.from_environment())
    try:
        hub = whole.mounted(declared.mount_paths) if declared.mounts else whole
        digests = Digests()
        held = take_hub_inventory(hub, digests, below, say)
        # Two entries may name the same system.
        systems = {settings.system: name for name, settings in sorted(declared.stores.items(), reverse=True)}
        stores = opened_adapters(systems.values(), lambda name: open_store(name, declared.store(name)))
        targets = opened_adapters(declared.targets, lambda name: open_target(name, declared.target(name), hub))
        inventories = take_store_inventories(stores, digests, say)
        accounts = take_target_inventories(declared.targets, targets, digests, say)
        defaults = Defaults(owner, classification)
        return draft_catalogue(
            declared, held, inventories, accounts, lambda path: older_versions(hub, digests, path), defaults
        )
    finally:
        whole.close()


def say(line: str) -> None:
    note(f"  {line}")


def opened_adapters(names: "Sequence[str] | Any", opening: Callable[[str], T]) -> dict[str, T | KeyturnError]:
    """Each adapter by name, or the error that prevents opening it."""

    def one(name: str) -> T | KeyturnError:
        try:
            return opening(name)
        except KeyturnError as error:
            return error

    return {name: one(name) for name in names}


def write_draft(output: Path, texts: dict[str, str], draft: "Draft", as_json: bool) -> None:
    """Check the draft against the existing files, write all of it, and show the result."""
    from keyturn.inventory.directory import insist_on_no_problem, problems_with, with_digest, write_files
    from keyturn.inventory.draft import SECRETS_FILE, without_refused

    def problems_of(text: str) -> Any:
        return problems_with(output, {**texts, SECRETS_FILE: text}, os.environ)

    draft, problems = without_refused(draft, problems_of)
    insist_on_no_problem(output, problems)
    files = write_files(output, {**texts, SECRETS_FILE: with_digest(draft.text())})
    if as_json:
        write_json({"files": [str(file) for file in files], **draft_data(draft)})
    else:
        write_text("\n".join(str(file) for file in files))
    note(summary(draft))
    note(f"look at it, then: keyturn catalogue validate {output} && keyturn plan --catalogue {output}")
    note(f"in a hub that Keyturn does not use yet, first: keyturn setup hub --apply --catalogue {output}")
    if draft.unread:
        first = draft.unread[0]
        more = len(draft.unread) - 1
        problem = f"{first.why}; {more} more can't be read either, each for its own reason" if more else first.why
        hint = f"Whatever can't be read is named at the end of {files[-1]}; the rest is written"
        end_command(TransientError("read", first.name, problem, hint), FAILED)


def summary(draft: "Draft") -> str:
    matching = draft.matching
    proposed = sum(len(entry.proposal.questions) for entry in draft.entries if entry.proposal)
    questions = len(copy_questions(draft)) + proposed
    return (
        f"{len(draft.declared)} secrets are declared, {len(draft.entries) - len(draft.declared)} commented out;"
        f" {len(matching.matches)} copies of them found, {questions} questions;"
        f" {len(matching.unmatched)} in the stores have nothing to do with them"
        + (f"; {len(draft.left_out)} listed as not declared" if draft.left_out else "")
    )


def copy_questions(draft: "Draft") -> list[dict[str, str | None]]:
    """Questions to a person about copies: those found in the stores, else those that the converted files name."""
    named = [(question.path or None, question) for question in draft.questions]
    if named:
        return [{"path": path, "store": q.store, "name": q.name, "question": q.text} for path, q in named]
    places = [(entry.path, place) for entry in draft.entries for place in entry.places if place.question]
    return [{"path": path, "store": p.store, "name": p.name, "question": p.question} for path, p in places]


def draft_data(draft: "Draft") -> dict[str, Any]:
    matching = draft.matching
    return {
        "secrets": [entry.path for entry in draft.declared],
        "commented_out": [{"path": entry.path, "why": entry.refused} for entry in draft.entries if entry.refused],
        "copies": [
            {"path": match.path, "store": match.stored.store, "name": match.stored.name, "why": match.why}
            for match in matching.matches
        ],
        "questions": copy_questions(draft),
        "proposals": [
            {
                "path": entry.path,
                "strategy": entry.proposal.rotation.get("strategy"),
                "reason": entry.proposal.reason,
                "questions": list(entry.proposal.questions),
            }
            for entry in draft.entries
            if entry.proposal
        ],
        "unmatched": list(matching.unmatched),
        "unread": [{"name": unread.name, "why": unread.why} for unread in draft.unread],
        "not_declared": [{"name": left.name, "why": left.why} for left in draft.left_out],
    }
