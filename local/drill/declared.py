"""The catalogue of a drill: one secret like the real one, whose every place is one of the local stack's."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel

from keyturn.catalogue import Catalogue
from keyturn.catalogue.destinations import Destination, FieldPattern
from keyturn.catalogue.models import Secret
from keyturn.core.sensitive import SecretFields
from keyturn.core.store_limits import (
    AWS_PARAMETER_STORE,
    AWS_SECRETS_MANAGER,
    AZURE_KEY_VAULT,
    FILE,
    GCP_SECRET_MANAGER,
    KUBERNETES,
)
from keyturn.core.text.references import Unfit
from keyturn.settings.stores import StoreBase
from local import environment
from local.drill.names import Names
from local.home import Stack
from local.prepare import DATABASE

TARGET: Final = "drill-database"
CONSUMER: Final = "drill-application"

LEADING: Final = frozenset(
    {
        *("endpoint_url", "role_arn", "profile", "kms_key_id"),
        *("vault_url", "authority", "ca_file"),
        *("project", "endpoint", "kms_key_name"),
        *("server", "token_file", "kubeconfig", "context", "namespace"),
        *("directory", "writes_per_second"),
    }
)
"""Settings of stores that lead to the real one, or that its own account allows."""


def _aws(stack: Stack, files: str) -> dict[str, Any]:
    return {"endpoint_url": environment.aws(stack)["KEYTURN_AWS_ENDPOINT"]}


def _azure(stack: Stack, files: str) -> dict[str, Any]:
    variables = environment.azure(stack)
    keys = {"vault_url": "VAULT_URL", "authority": "AUTHORITY", "ca_file": "CA_FILE"}
    return {key: variables[f"KEYTURN_AZURE_{name}"] for key, name in keys.items()}


def _gcp(stack: Stack, files: str) -> dict[str, Any]:
    variables = environment.gcp(stack)
    keys = {"project": "PROJECT", "endpoint": "ENDPOINT", "ca_file": "CA_FILE", "token_file": "TOKEN_FILE"}
    return {key: variables[f"KEYTURN_GCP_{name}"] for key, name in keys.items()}


def _kubernetes(stack: Stack, files: str) -> dict[str, Any]:
    variables = environment.kubernetes(stack)
    keys = {"server": "SERVER", "ca_file": "CA_FILE", "token_file": "TOKEN_FILE"}
    settings = {key: variables[f"KEYTURN_KUBERNETES_{name}"] for key, name in keys.items()}
    return {"namespace": environment.NAMESPACE, **settings}


AT_THE_STACK: Final[Mapping[str, Callable[[Stack, str], dict[str, Any]]]] = {
    AWS_SECRETS_MANAGER: _aws,
    AWS_PARAMETER_STORE: _aws,
    AZURE_KEY_VAULT: _azure,
    GCP_SECRET_MANAGER: _gcp,
    KUBERNETES: _kubernetes,
    FILE: lambda stack, files: {"directory": files},
}
"""The kinds of store that the local stack has, and what leads there."""


@dataclass(frozen=True)
class Places:
    """The stores of a drill as a catalogue has them, its destinations, and what differs from the real secret's."""

    stores: dict[str, Any]
    destinations: tuple[dict[str, Any], ...]
    differs: tuple[str, ...]

    @property
    def copies(self) -> list[tuple[str, str]]:
        """The store and the name of each."""
        return [(place["store"], place["name"]) for place in self.destinations]


def places(catalogue: Catalogue, secret: Secret, stack: Stack, names: Names, files: str) -> Places:
    """Every destination of the real secret once more, under a fresh name, in the stack's store of the same kind."""
    stores, destinations, differs = dict[str, Any](), [], []
    for number, place in enumerate(secret.destinations, 1):
        if isinstance(place, FieldPattern):
            differs.append(
                f"its copies {place.label} have no equivalent in the local stack: only the real secret has their fields"
            )
            continue
        kind = kind_of(catalogue.store(place.store))
        if kind not in AT_THE_STACK:
            differs.append(f"its copy {place.label} has no equivalent: the local stack has no {kind}")
            continue
        stores[place.store] = at_the_stack(catalogue.store(place.store), stack, files)
        destinations.append({**plain(place), "name": names.copy(kind, number)})
    return Places(stores, tuple(destinations), tuple(differs))


def at_the_stack(store: StoreBase, stack: Stack, files: str) -> dict[str, Any]:
    """The store's settings with all that leads anywhere exchanged: no name of the real store's is used."""
    settings = {name: value for name, value in plain(store).items() if name not in LEADING}
    return settings | AT_THE_STACK[kind_of(store)](stack, files)


def kind_of(store: StoreBase) -> str:
    """The kind, as the catalogue names it."""
    return str(getattr(store, "kind", ""))


def plain(model: BaseModel) -> dict[str, Any]:
    """What was said of it, as JSON-ready data that the catalogue reads back."""
    return model.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude_none=True)


def catalogue_of(
    stack: Stack, secret: Secret, rotation: dict[str, Any], first: SecretFields, where: Places, url: str, names: Names
) -> tuple[Catalogue, tuple[str, ...]]:
    """The catalogue of the drill's secret alone, and what is otherwise about its copies."""
    shaped, differs = fitting(where.destinations, first)
    database = {"kind": "postgresql", "host": stack.database.host, "port": stack.ports["postgres"]}
    tls = {"sslmode": "verify-full", "ca_file": environment.ca_file(stack)}
    target = {**database, **tls, "database": DATABASE, "admin": "targets/ml-postgres"}
    declared = {
        "path": names.secret,
        "owner": secret.owner,
        "classification": str(secret.classification),
        "description": f"A drill of {secret.path}",
        "rotation": rotation,
        "destinations": shaped,
        "consumers": [CONSUMER],
    }
    data = {
        "stores": where.stores,
        "targets": {TARGET: target},
        "consumers": {CONSUMER: {"url": url, "signing_key": names.signing_key}},
        "secrets": {names.secret: declared},
    }
    return Catalogue.model_validate(data), tuple(differs)


def fitting(destinations: tuple[dict[str, Any], ...], first: SecretFields) -> tuple[list[dict[str, Any]], list[str]]:
    """The destinations, each with the real one's shape where this secret has the fields for it, else whole."""
    shaped, differs = [], []
    for place in destinations:
        destination = Destination.model_validate(place)
        try:
            destination.shape.render(first)
            shaped.append(place)
        except Unfit as error:
            shaped.append({name: value for name, value in place.items() if name not in SHAPING})
            differs.append(f"the copy in {destination.store} is the whole secret: {error}")
    return shaped, differs


SHAPING: Final = frozenset({"field", "fields", "template", "escape", "encoding"})


def elsewhere(catalogue: Catalogue, secret: Secret) -> Iterator[str]:
    """What else is otherwise than with the real secret."""
    if secret.consumers:
        yield f"{', '.join(secret.consumers)}: not notified, an application of the drill took its place"
    target = getattr(secret.rotation, "target", "")
    if target and (kind := str(catalogue.target(target).kind)) == "mysql":
        yield (
            f"its target {target} is {kind}: PostgreSQL accounts took their place, the only database of the local stack"
        )
