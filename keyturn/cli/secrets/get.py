"""``keyturn get``: read many secrets from the hub or one store. Values are shown only on request."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from dataclasses import field as data_field
from typing import TYPE_CHECKING, Annotated, Any, Final, cast

import typer

from keyturn.cli.completion import complete_secret
from keyturn.cli.environment import opened_workspace
from keyturn.cli.failures import FAILED, say
from keyturn.cli.options import CatalogueOption, JsonOption
from keyturn.cli.output import for_terminal, write_json, write_table, write_value
from keyturn.core.errors import Invalid, KeyturnError, NotFound

if TYPE_CHECKING:
    from keyturn.client.bulk import BulkReader
    from keyturn.core.ports.hub import HubSecret
    from keyturn.core.sensitive import SecretFields, Sensitive
    from keyturn.rotation.state.context import Workspace

HUB: Final = "hub"
COLUMNS: Final = ("secret", "place", "version", "fingerprint")

PathsArgument = Annotated[
    list[str], typer.Argument(metavar="PATH...", help="The secrets.", autocompletion=complete_secret)
]
FromOption = Annotated[
    str | None, typer.Option("--from", metavar="STORE", help="Read their copies in this store, not the hub.")
]
FieldOption = Annotated[str | None, typer.Option("--field", metavar="FIELD", help="This field alone.")]
RevealOption = Annotated[bool, typer.Option("--reveal", help="Print the values in clear; several of them need --json.")]


@dataclass(frozen=True)
class ReadValue:
    """One secret as read. ``version`` is the hub's; None if the place does not give it for this value."""

    path: str
    place: str
    version: int | None
    fingerprint: str
    text: "Sensitive" = data_field(repr=False)

    def row(self) -> tuple[str, ...]:
        return self.path, self.place, str(self.version or "-"), self.fingerprint

    def to_data(self, reveal: bool) -> dict[str, Any]:
        names = ("path", "place", "version", "fingerprint")
        data = {name: getattr(self, name) for name in names}
        return {**data, "value": self.text.reveal()} if reveal else data


Read = tuple[list[ReadValue], list[KeyturnError]]


def get(
    paths: PathsArgument,
    store: FromOption = None,
    field: FieldOption = None,
    reveal: RevealOption = False,
    catalogue: CatalogueOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read many secrets at once: their versions and fingerprints, and their values only with --reveal.

    Equal fingerprints of one secret are equal values. Secrets that can't be read are listed separately. Each value that
    is printed gets an entry in the ledger; if the ledger can't be written, no value is printed.
    """
    if reveal and len(set(paths)) > 1 and not as_json:
        raise typer.BadParameter("several values need --json", param_hint="--reveal")
    with opened_workspace(catalogue) as workspace:
        values, failed = from_store(workspace, paths, store, field) if store else from_hub(workspace, paths, field)
        if reveal:
            note_reveal(workspace, values, field)
    show_values(values, failed, reveal, as_json)
    for error in failed:
        say(error)
    if failed:
        raise typer.Exit(FAILED)


def note_reveal(workspace: "Workspace", values: Sequence[ReadValue], field: str | None) -> None:
    """Record which values will be shown, in one durable write before that. Raises Unrecorded."""
    from keyturn.core.ports.ledger import Outcome
    from keyturn.rotation.state.journal import entry, note_down

    what = f"field {field}" if field else ""
    note_down(
        workspace,
        [
            entry(
                workspace,
                "reveal",
                Outcome.DONE,
                value.path,
                version=value.version or 0,
                fingerprint=workspace.fingerprint_of(value.path, value.text),
                place="" if value.place == HUB else value.place,
                note=what,
            )
            for value in values
        ],
    )


def show_values(values: list[ReadValue], failed: list[KeyturnError], reveal: bool, as_json: bool) -> None:
    if as_json:
        errors = [{"name": error.name, "error": type(error).__name__, "message": str(error)} for error in failed]
        write_json({"secrets": [value.to_data(reveal) for value in values], "errors": errors})
    elif reveal:
        for value in values:
            write_value(for_terminal(value.text.reveal()))
    elif values:
        write_table(COLUMNS, (value.row() for value in values), whole=("version", "fingerprint"))


def from_hub(workspace: "Workspace", paths: Sequence[str], field: str | None) -> Read:
    from keyturn.client.bulk import read_many
    from keyturn.core.fingerprint import payload

    hub = cast("BulkReader[HubSecret]", workspace.hub)
    bulk = read_many({HUB: hub}, [(HUB, path) for path in paths])
    values, failed = [], list(bulk.errors.values())
    for secret in bulk.values.values():
        try:
            text = field_of(secret.path, secret.fields, field) if field else payload(secret.fields)
        except KeyturnError as error:
            failed.append(error)
        else:
            values.append(
                ReadValue(secret.path, HUB, secret.version, short_fingerprint(workspace, secret.path, text), text)
            )
    return values, failed


def from_store(workspace: "Workspace", paths: Sequence[str], store: str, field: str | None) -> Read:
    """Read the copies in a store with few calls. Raises NotFound for an undeclared store."""
    from keyturn.client.bulk import read_many
    from keyturn.rotation.state.context import side_by_side

    workspace.catalogue.store(store)
    names, failed = placed(workspace, paths, store)
    parts, refused = merged(workspace, paths, store)
    failed += refused
    bulk = read_many({store: workspace.open_store(store)}, [(store, name) for name in names])
    failed += bulk.errors.values()

    def of_copy(name: str) -> ReadValue | KeyturnError:
        path, text = names[name], bulk.values[store, name]
        try:
            value = ReadValue(path, f"{store}:{name}", version_of(workspace, path, store, name, text), "", text)
        except KeyturnError as error:
            return error
        return chosen(value)

    def chosen(value: ReadValue) -> ReadValue | KeyturnError:
        try:
            text = field_of(value.path, json_fields(value), field) if field else value.text
        except KeyturnError as error:
            return error
        return replace(value, fingerprint=short_fingerprint(workspace, value.path, text), text=text)

    done = [*side_by_side(of_copy, [name for _, name in bulk.values], 8), *map(chosen, parts)]
    failed += [error for error in done if isinstance(error, KeyturnError)]
    return [value for value in done if isinstance(value, ReadValue)], failed


def placed(workspace: "Workspace", paths: Sequence[str], store: str) -> tuple[dict[str, str], list[KeyturnError]]:
    names: dict[str, str] = {}
    failed: list[KeyturnError] = []
    for path in dict.fromkeys(paths):
        try:
            there = [place for place in workspace.places(path) if place.store == store]
        except KeyturnError as error:
            failed.append(error)
            continue
        names |= {place.name: path for place in there if not place.merge}
        if not there:
            hint = "Add the store to its destinations in the catalogue"
            failed.append(NotFound("read", path, f"it is not pushed to {store}", hint))
    return names, failed


def merged(workspace: "Workspace", paths: Sequence[str], store: str) -> Read:
    """Read copies that are single keys of other secrets, and none of their other keys."""
    from keyturn.catalogue.spreading import plain_places

    values: list[ReadValue] = []
    failed: list[KeyturnError] = []
    pairs = ((path, place) for path in dict.fromkeys(paths) for place in plain_places(workspace.catalogue, path))
    for path, place in ((path, place) for path, place in pairs if place.store == store and place.merge):
        try:
            view = workspace.open_copy(path, place)
            copy, text = view.describe(place.name), view.read(place.name)
        except KeyturnError as error:
            failed.append(error)
        else:
            version = copy.marks.version if copy and copy.marks and copy.intact else None
            values.append(ReadValue(path, place.label, version, "", text))
    return values, failed


def version_of(workspace: "Workspace", path: str, store: str, name: str, text: "Sensitive") -> int | None:
    """Return the hub's version from the copy's marks; None if they do not match this value."""
    from keyturn.core.fingerprint import vouches

    copy = workspace.open_store(store).describe(name)
    marks = copy.marks if copy else None
    return marks.version if marks and vouches(marks.fingerprint, workspace.fingerprint_of(path, text)) else None


def json_fields(value: ReadValue) -> "SecretFields":
    """Parse a copy that holds a JSON object. Raises Invalid."""
    from keyturn.core.sensitive import SecretFields

    try:
        data = json.loads(value.text.reveal())
    except ValueError:
        data = None
    if not isinstance(data, dict):
        raise Invalid("read", value.place, "it is one text without fields", "Leave --field out")
    return SecretFields(data)


def field_of(path: str, fields: "SecretFields", field: str) -> "Sensitive":
    from keyturn.core.text.suggest import advice

    if field not in fields:
        raise NotFound("read", path, f"it has no field {field}", advice(field, fields, "It has none"))
    return fields[field]


def short_fingerprint(workspace: "Workspace", path: str, text: "Sensitive") -> str:
    from keyturn.core.fingerprint import shown

    return shown(workspace.fingerprint_of(path, text))
