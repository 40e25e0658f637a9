"""The JSON Schema of the catalogue's files (draft 2020-12), for editors."""

from datetime import timedelta
from typing import Annotated, Any, Final

from pydantic import Field
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from keyturn.catalogue.access_logs import AccessLogSettings
from keyturn.catalogue.access_policies import AccessPolicySettings
from keyturn.catalogue.consumers import ConsumerSettings
from keyturn.catalogue.destinations import SyncSettings
from keyturn.catalogue.exceptions import ExceptionSettings
from keyturn.catalogue.files.environment import REFERENCE
from keyturn.catalogue.files.parse import ID
from keyturn.catalogue.freezes import FreezeSettings
from keyturn.catalogue.grant_accounts import GrantAccountSettings
from keyturn.catalogue.hub_entries import HubEntry
from keyturn.catalogue.keys import KeySettings
from keyturn.catalogue.models import SecretDeclaration
from keyturn.catalogue.monitors import MonitorSettings
from keyturn.catalogue.mounts import MountSettings
from keyturn.catalogue.pki import AuthoritySettings
from keyturn.catalogue.routes import RouteSettings
from keyturn.catalogue.rules import RuleSettings
from keyturn.catalogue.stores import StoreSettings
from keyturn.catalogue.targets import TargetSettings
from keyturn.settings import durations
from keyturn.settings.choices import Choice, models
from keyturn.settings.fields import CATALOGUE_ID, NAME, SECRET_PATH, Model
from keyturn.settings.meanings import meanings

SECTIONS: Final = (StoreSettings, TargetSettings, ConsumerSettings, AccessLogSettings, HubEntry, KeySettings)


NAMED: Final = {
    "type": "string",
    "description": "The recipe that sets the other keys: `keyturn recipe list`, for a store `keyturn store list`.",
}


class CatalogueFile(Model):
    """One file of a Keyturn catalogue. All *.yaml files of the directory are merged."""

    id: Annotated[str, Field(pattern=CATALOGUE_ID)] | None = None
    """The catalogue's id in the marks of its copies; needed if a hub has several catalogues."""
    stores: dict[str, StoreSettings] | None = None
    """The systems that secrets are pushed to, by name."""
    targets: dict[str, TargetSettings] | None = None
    """The systems that accept the credentials, by name."""
    consumers: dict[str, ConsumerSettings] | None = None
    """The applications that use the secrets and are notified of changes, by name."""
    secrets: dict[str, SecretDeclaration] | None = None
    """The secrets, by their path in the hub's KV mount; NAME:PATH for those in other mounts."""
    freezes: dict[str, FreezeSettings] | None = None
    """Times in which rotations wait unless they are urgent, by name."""
    syncs: dict[str, SyncSettings] | None = None
    """Secrets to push by patterns of their paths, by name."""
    mounts: dict[str, MountSettings] | None = None
    """Further KV mounts of the hub, by the names that prefix the paths of their secrets."""
    rules: dict[str, RuleSettings] | None = None
    """Rules about stores and places that secrets may, must or must not be copied to, by name."""
    monitors: dict[str, MonitorSettings] | None = None
    """Usual reads of secrets, and the weights of unusual ones, by name."""
    access_logs: dict[str, AccessLogSettings] | None = None
    """The logs of reads of secrets, by name."""
    exceptions: dict[str, ExceptionSettings] | None = None
    """Temporary exceptions of secrets from checks of `keyturn report`, with their owners, by name."""
    access_policies: dict[str, AccessPolicySettings] | None = None
    """Policies of temporary access to secrets, with approvals, by name."""
    grants: dict[str, GrantAccountSettings] | None = None
    """Accounts for temporary access that Keyturn makes itself at a target, by name."""
    pki: dict[str, AuthoritySettings] | None = None
    """The authorities in PKI engines of the hub, by name."""
    hub: dict[str, HubEntry] | None = None
    """Further objects that `keyturn setup hub --apply` makes in the hub, by name."""
    keys: dict[str, KeySettings] | None = None
    """Keys in other engines that Keyturn manages there, by name."""
    routes: dict[str, RouteSettings] | None = None
    """Services that programs call through `keyturn proxy`, which adds the credential, by name."""


class _Generator(GenerateJsonSchema):
    """Shows durations with units, and omits titles and OpenAPI keywords."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def encode_default(self, dft: Any) -> Any:
        return durations.show(dft) if isinstance(dft, timedelta) else super().encode_default(dft)

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        made, model = super().model_schema(schema), schema["cls"]
        for name, meaning in meanings(model).items():
            key = model.model_fields[name].alias or name
            made["properties"][key] = {**made["properties"][key], "description": meaning}
        return made

    def function_plain_schema(self, schema: core_schema.PlainValidatorFunctionSchema) -> JsonSchemaValue:
        choice = getattr(schema["function"]["function"], "__self__", None)
        if isinstance(choice, Choice):
            return self.generate_inner(choice.to_core_schema())
        return super().function_plain_schema(schema)

    def tagged_union_schema(self, schema: core_schema.TaggedUnionSchema) -> JsonSchemaValue:
        made = super().tagged_union_schema(schema)
        made.pop("discriminator", None)
        return made

    def generate(self, schema: CoreSchema, mode: Any = "validation") -> JsonSchemaValue:
        return {"$schema": self.schema_dialect, **super().generate(schema, mode)}


def schema() -> dict[str, Any]:
    made = CatalogueFile.model_json_schema(schema_generator=_Generator)
    for name in (model.__name__ for section in SECTIONS for model in models(section)):
        properties = made["$defs"][name]["properties"]
        made["$defs"][name]["properties"] = {key: _or_reference(value) for key, value in properties.items()}
    _allow_recipes(made["$defs"]["SecretDeclaration"]["properties"], "rotation")
    _allow_recipes(made["properties"], "targets")
    _allow_recipes(made["properties"], "stores")
    for name, section in made["properties"].items():
        if name == ID:
            continue
        section["anyOf"][0]["propertyNames"] = {"pattern": SECRET_PATH if name == "secrets" else NAME}
    return made


def _or_reference(value: dict[str, Any]) -> dict[str, Any]:
    if "const" in value:
        return value
    about: dict[str, Any] = {key: value[key] for key in ("description", "default") if key in value}
    rest = {key: part for key, part in value.items() if key not in about}
    return {**about, "anyOf": [*rest.pop("anyOf", [rest]), {"type": "string", "pattern": REFERENCE.pattern}]}


def _allow_recipes(properties: dict[str, Any], key: str) -> None:
    """Allow ``recipe: NAME`` where a strategy, a kind of target or of store is selected; it sets the other keys."""
    shape = properties[key]
    by_recipe = {"type": "object", "required": ["recipe"], "properties": {"recipe": NAMED}}
    if key in ("targets", "stores"):
        inner = shape["anyOf"][0]["additionalProperties"]
        shape["anyOf"][0]["additionalProperties"] = {"anyOf": [inner, by_recipe]}
    else:
        about = {"description": shape.pop("description")} if "description" in shape else {}
        properties[key] = {**about, "anyOf": [shape, by_recipe]}
