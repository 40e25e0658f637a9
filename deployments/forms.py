"""Offers the catalogue's names as choices in the forms of the Prefect UI.

Forms accept other names too, because a catalogue may be newer than the last bootstrap.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import DeploymentUpdate

from keyturn.catalogue import Catalogue
from keyturn.core.workspaces import WorkspaceNames

FIELDS: Final[Mapping[str, Mapping[str, str]]] = {
    "rotate-secret": {"path": "secrets"},
    "check-logins": {"path": "secrets"},
    "retire": {"path": "secrets"},
    "sync": {"path": "secrets"},
    "emergency-revoke": {
        "path": "secrets",
        "owner": "owners",
        "target": "targets",
        "store": "stores",
        "incident": "incidents",
    },
    "resume-incident": {"incident": "incidents"},
    "preview-revocation": {"path": "secrets", "owner": "owners", "target": "targets", "store": "stores"},
    "compliance-report": {"owner": "owners"},
    "drill": {"path": "drills"},
}


def choices_of(catalogue: Catalogue, incidents: Sequence[str] = ()) -> dict[str, list[str]]:
    return {
        "secrets": sorted(catalogue.secrets),
        "owners": sorted({secret.owner for secret in catalogue.secrets.values()}),
        "targets": sorted(catalogue.targets),
        "stores": sorted(catalogue.stores),
        "incidents": list(incidents),
        "drills": sorted(path for path, secret in catalogue.secrets.items() if secret.drill),
    }


async def offer_choices(catalogue: Catalogue, workspace: WorkspaceNames, incidents: Sequence[str] = ()) -> None:
    choices = choices_of(catalogue, incidents)
    async with get_client() as client:
        for flow, fields in FIELDS.items():
            deployment = await client.read_deployment_by_name(workspace.deployed(flow))
            schema: Any = deployment.parameter_openapi_schema
            offered = with_choices(schema, {field: choices[kind] for field, kind in fields.items()})
            await client.update_deployment(deployment.id, DeploymentUpdate(parameter_openapi_schema=offered))


def with_choices(schema: Mapping[str, Any], choices: Mapping[str, Sequence[str]]) -> Any:
    """The schema with these choices; every other valid value remains valid."""
    properties = dict(schema["properties"])
    for field, names in choices.items():
        if names:
            properties[field] = offering(properties[field], names)
    return {**schema, "properties": properties}


def offering(field: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    about = {key: value for key, value in field.items() if key not in ("type", "anyOf", "pattern", "enum")}
    taken = field.get("anyOf") or [{key: field[key] for key in ("type", "pattern") if key in field}]
    others = [{"title": "Type a value", **kind} if kind.get("type") == "string" else kind for kind in taken]
    return {**about, "anyOf": [{"title": "From catalogue", "type": "string", "enum": list(names)}, *others]}
