"""What the catalogue needs in the hub itself, the plan of it, and carrying it out; login files of an AppRole."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from keyturn.cli.environment import connected_hub, insist_on_hub, load_catalogue
from keyturn.cli.output import note, write_json, write_table, write_text
from keyturn.cli.setup.hub_tables import COLUMNS, item_rows, plan_data, summarize
from keyturn.core.errors import Conflict, Denied, Invalid, NotFound, Unavailable
from keyturn.core.workspaces import WorkspaceNames

if TYPE_CHECKING:
    from datetime import timedelta

    from keyturn.core.rights.hub_setup import HubPlan, HubResource, Item
    from keyturn.providers.vault.hub import VaultHub
    from keyturn.providers.vault.setup import VaultSetup
    from keyturn.rights.hub_claims import Claim
    from keyturn.rights.hub_record import SetupRecord

OverwriteOption = Annotated[
    list[str] | None,
    typer.Option(
        "--overwrite",
        metavar="NAME",
        help="Change or replace this although Keyturn did not create it, such as policy:keyturn-worker.",
    ),
]
RemoveOption = Annotated[
    list[str] | None,
    typer.Option("--remove", metavar="NAME", help="Take away what Keyturn made and nothing declares any more."),
]
SecretsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--write-secrets",
        metavar="NAME",
        help="Write this again because the secrets in it can't be compared, such as oidc-config:people.",
    ),
]
TakeOverOption = Annotated[
    bool, typer.Option("--take-over", help="Set the hub up for this catalogue though it is set up for another one.")
]


@dataclass(frozen=True)
class Setting:
    """A hub, what it needs, and what Keyturn has made there."""

    hub: "VaultHub"
    port: "VaultSetup"
    wanted: "tuple[HubResource, ...]"
    record: "SetupRecord"
    other: str = ""
    """Why the hub is set up for another catalogue; empty where it is not."""

    def plan(self, overwrite: list[str] | None = None, rewrite: list[str] | None = None) -> "HubPlan":
        """What would be made, changed and set back. Raises Invalid for what is named and is nothing."""
        from keyturn.core.text.suggest import advice
        from keyturn.rights.hub_plan import plan_setup

        keys = [resource.key for resource in self.wanted]
        if strange := next((name for name in overwrite or [] if name not in keys), None):
            remedy = advice(strange, keys, "Name it as the plan does")
            raise Invalid("overwrite", strange, "the catalogue needs no such thing in the hub", remedy)
        secret = [resource.key for resource in self.wanted if resource.values]
        if strange := next((name for name in rewrite or [] if name not in secret), None):
            remedy = advice(strange, secret, "Name it as the plan does")
            raise Invalid("write the secrets of", strange, "it has none that Keyturn writes", remedy)
        return plan_setup(self.port, self.wanted, self.record, overwrite or (), rewrite=rewrite or ())


@contextmanager
def opened_hub(catalogue: Path | None) -> Iterator[Setting]:
    """The hub of the environment, with the login of the environment. Raises what can't be found or read."""
    from keyturn.rights.hub_claims import Claim, other_catalogue
    from keyturn.rights.hub_record import read_record
    from keyturn.rights.hub_wanted import HubDeclaration, resources
    from keyturn.settings.hub import HubSettings

    insist_on_hub()
    declared = load_catalogue(catalogue)
    settings = HubSettings.from_environment()
    house = WorkspaceNames.from_environment(os.environ).own
    wanted = resources(HubDeclaration.by(declared, settings, house, first_ledger()))
    with connected_hub(settings) as hub:
        port = hub.setup()
        if settings.namespace:
            insist_on_namespace(port, settings.namespace, wanted)
        record = read_record(port)
        claim = record.claims.get(house) or earlier_claim(hub, declared.id, record)
        other = other_catalogue(claim, declared.id, declared.secrets)
        claimed = replace(record, claims={**record.claims, house: Claim.of(declared)})
        yield Setting(hub, port, wanted, claimed, other)


def earlier_claim(hub: "VaultHub", own: str, record: "SetupRecord") -> "Claim | None":
    """What the records of rotations say of the catalogue of a hub that an older release has set up.

    None where nothing was set up, or the login may not look.
    """
    from keyturn.rights.hub_claims import Claim, some_of
    from keyturn.rotation.candidates import ROTATIONS

    if not record.made:
        return None
    try:
        rotated = hub.list_state(f"{ROTATIONS}/")
    except Denied:
        return None
    return Claim(own, some_of(path.removeprefix(ROTATIONS).lstrip("/") for path in rotated))


def insist_on_namespace(port: "VaultSetup", namespace: str, wanted: "tuple[HubResource, ...]") -> None:
    """Raises NotFound for a namespace that is not there and nothing declares, Denied for one that can't be made."""
    from keyturn.core.rights.hub_setup import NAMESPACES, Kind

    if port.look(f"{NAMESPACES}{namespace}") is not None:
        return None
    if any(resource.kind is Kind.NAMESPACE for resource in wanted):
        return port.insist_on_making_namespace()
    hint = "Declare it under hub, as an entry of kind namespace, or have it made, or correct VAULT_NAMESPACE"
    raise NotFound("find", f"the namespace {namespace}", "the hub has none of that name", hint)


def first_ledger() -> str:
    """What a hub that names no ledger is to name: its name, and its address where other machines can reach it there."""
    from keyturn.providers.ledger.address import VARIABLE, first_name, recorded_place

    address = os.environ.get(VARIABLE, "")
    place = recorded_place(address) if address else None
    return f"{first_name(os.environ)} {place.address}" if place and place.shared else first_name(os.environ)


def insist_on_own_hub(setting: Setting, doing: list[str], *, take_over: bool = False) -> None:
    """Raises Conflict where something is to be done in a hub that is set up for another catalogue."""
    if doing and setting.other and not take_over:
        hint = (
            "Its policies would lose rights that the other one needs. Put both into one catalogue, or set "
            "KEYTURN_WORKSPACE for this one. Where it replaces the other one, give --take-over"
        )
        raise Conflict("set up", "the hub", setting.other, hint)


def closed_to_auditors(setting: Setting, planned: "HubPlan") -> "HubPlan":
    """The plan, once no record that an auditor may read holds a value; without the auditor's policy where one may."""
    from keyturn.core.rights.hub_setup import Kind
    from keyturn.core.rights.rights import HubPlaces
    from keyturn.rights.hub_apply import DOING
    from keyturn.rights.hub_policies import AUDITOR
    from keyturn.rotation.repair.record_upkeep import move_all_values

    policy = f"{Kind.POLICY}:{HubPlaces(house=WorkspaceNames.from_environment(os.environ).own).named(AUDITOR)}"
    changes = {item.resource.key for item in planned.of(*DOING)}
    new = f"{Kind.MOUNT}:{setting.hub.state_mount}" in changes
    failed = move_all_values(setting, every=True) if policy in changes and not new else {}
    for path, error in failed.items():
        note(f"the rotation record of {path} may hold a value: {error}")
    if not failed:
        return planned
    note(f"{policy} is left as it is until these records are moved: run keyturn setup hub --apply again")
    return replace(planned, items=tuple(item for item in planned.items if item.resource.key != policy))


def carried_out(planned: "HubPlan", remove: list[str] | None) -> list[str]:
    """The names of what applying it would do."""
    from keyturn.rights.hub_apply import DOING

    return [*(item.resource.key for item in planned.of(*DOING)), *(remove or ())]


def carry_out_plan(setting: Setting, planned: "HubPlan", remove: list[str]) -> "list[Item]":
    """Do it, and return what was done."""
    from keyturn.rights.hub_apply import apply_setup, remove_left_over

    done: list[Item] = []

    def progress(item: "Item") -> None:
        note(f"{item.why if item.why == 'removed' else item.verdict}: {item.resource.key}")
        done.append(item)

    record = apply_setup(setting.port, setting.hub.state_mount, planned, setting.record, progress)
    remove_left_over(setting.port, planned, record, remove, progress)
    return done


def tell(planned: "HubPlan", everything: bool, as_json: bool, *, quiet: bool = False) -> None:
    """The plan, for people or for scripts."""
    if quiet:
        return
    if as_json:
        write_json(plan_data(planned, everything))
        return
    rows: list[Any] = list(item_rows(planned, everything))
    if rows:
        write_table(COLUMNS, rows, whole=("",))
    write_text(summarize(planned))


def keep_look(setting: Setting, left: "HubPlan") -> None:
    """Record what this look at the hub found, as the daily one does. A login that may not write it gets a note."""
    from keyturn.core.rights.hub_setup import Kind
    from keyturn.rights.hub_check import keep_check, summarized

    visible = tuple(item for item in left.items if item.resource.kind is not Kind.AUDIT_DEVICE)
    try:
        keep_check(setting.hub, summarized(replace(left, items=visible), setting.hub.now()))
    except NotFound:
        return  # Keyturn's own mount is not made yet.
    except Unavailable as error:  # also where the namespace is not made yet
        note(f"this look is not recorded: {error.problem}")
    except Denied:
        note("this login may not record that it looked: the flow check-hub does, or an administrator's login")


def write_credentials(
    role: Annotated[str, typer.Argument(metavar="ROLE", help="The AppRole, such as keyturn-worker.")],
    directory: Annotated[Path, typer.Option("--directory", metavar="DIR", help="Where role-id and secret-id go.")],
    place: Annotated[str, typer.Option("--place", metavar="NAME", help="Whose secret id it is, such as a host.")],
    wrap: Annotated[
        str | None,
        typer.Option("--wrap", metavar="TTL", help="Write what unwraps the secret id once, within this time."),
    ] = None,
) -> None:
    """Make a secret id of an AppRole and write it to a file that its owner alone may read (0600).

    It is shown nowhere. With --wrap DIR/wrapped-secret-id has it instead, for KEYTURN_HUB_WRAPPED_SECRET_ID_FILE.
    """
    from keyturn.pages.files import write_private
    from keyturn.settings.hub import HubSettings

    insist_on_hub()
    ttl, file = wrap_of(wrap), directory / ("wrapped-secret-id" if wrap else "secret-id")
    if file.is_symlink() or file.exists():
        raise Invalid("write", str(file), "there is one already", "Name another directory, or remove it")
    with connected_hub(HubSettings.from_environment()) as hub:
        port = hub.setup()
        role_id = port.role_id(role)
        secret = port.make_wrapped_secret_id(role, place, ttl) if ttl else port.make_secret_id(role, place)
    write_private(directory / "role-id", role_id)
    write_private(file, secret.reveal())
    write_text(f"{directory / 'role-id'}\n{file}")


def wrap_of(text: str | None) -> "timedelta | None":
    """How long a wrapped secret id waits. Raises Invalid."""
    from keyturn.settings.durations import parse

    try:
        return parse(text) if text else None
    except ValueError as error:
        raise Invalid("wrap", "the secret id", f"--wrap {error}", "Write 5m") from None
