"""What whoever calls may do: permissions, each of them bound without or under a condition on the resource's name.

Of the language of conditions it knows the terms that Keyturn's documents are made of, joined by ``||``, and refuses a
grant with any other. Sources: "Access control with IAM" of Secret Manager, and "Attribute reference for IAM
Conditions" (``extract`` gives nothing where its template does not fit).
"""

import json
import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any, Final

import grpc
import yaml

from local.emulators.gcp_secret_manager.errors import Refused
from local.emulators.gcp_secret_manager.messages import Pb
from local.emulators.gcp_secret_manager.resource_names import read_parent, read_secret, read_version
from local.emulators.rights import Documents

TEXT: Final = r'("(?:[^"\\]|\\.)*")'
ENDS: Final = re.compile(rf"resource\.name\.endsWith\({TEXT}\)")
IS: Final = re.compile(rf"resource\.name\.extract\({TEXT}\) == {TEXT}")
BEGINS: Final = re.compile(rf"resource\.name\.extract\({TEXT}\)\.startsWith\({TEXT}\)")


@dataclass(frozen=True)
class Grant:
    """The permissions of one role, bound under this condition; without one to every resource of the project."""

    permissions: frozenset[str]
    condition: str = ""

    def __post_init__(self) -> None:
        self.holds("")  # what is not understood here is refused at once

    def allows(self, permission: str, resource: str) -> bool:
        """Whether it allows this on the resource of this name."""
        return permission in self.permissions and self.holds(resource)

    def holds(self, resource: str) -> bool:
        """Whether the condition is fulfilled. Raises ValueError for one that is not understood."""
        terms = [_holds(term, resource) for term in self.condition.split(" || ") if term]
        return not terms or any(terms)


def _holds(term: str, resource: str) -> bool:
    if match := ENDS.fullmatch(term):
        return resource.endswith(str(json.loads(match[1])))
    if match := IS.fullmatch(term):
        return extract(resource, json.loads(match[1])) == str(json.loads(match[2]))
    if match := BEGINS.fullmatch(term):
        return extract(resource, json.loads(match[1])).startswith(json.loads(match[2]))
    raise ValueError(f"this condition is not known here: {term}")


def extract(text: str, template: str) -> str:
    """What stands in the text in place of ``{identifier}``: nothing where the template does not fit."""
    before, _, rest = template.partition("{")
    after = rest.partition("}")[2]
    _, found, tail = text.partition(before)
    if not found:
        return ""
    name, ends, _ = tail.partition(after) if after else (tail, "", "")
    return name if ends or not after else ""


def bound(documents: Documents) -> list[Grant]:
    """What the roles among these documents give, each under the conditions that its store has."""
    files = {name: text for name, text in documents.items() if name.endswith(".yaml")}
    texts = {name: yaml.safe_load(text) for name, text in files.items() if "---" not in text}
    made = []
    for name, role in texts.items():
        if not isinstance(role, dict) or "includedPermissions" not in role:
            continue
        store = name.removesuffix(".yaml").removesuffix("-revoker").removesuffix("-project")
        under = [text["expression"] for file, text in texts.items() if file.startswith(f"{store}-condition-")]
        permissions = frozenset(role["includedPermissions"])
        made += [Grant(permissions, each) for each in ([""] if name.endswith("-project.yaml") else under or [""])]
    return made


def check(grants: Collection[Grant] | None, rpc: str, request: Pb) -> None:
    """Raises :class:`Refused` (PERMISSION_DENIED) where no grant allows the call; without grants all is allowed."""
    if grants is None or rpc not in NEEDED:
        return
    permission, about = NEEDED[rpc]
    resource = about(request)
    if not any(grant.allows(permission, resource) for grant in grants):
        message = f"Permission '{permission}' denied for resource '{resource}' (or it may not exist)."
        raise Refused(grpc.StatusCode.PERMISSION_DENIED, message)


def held(grants: Collection[Grant] | None, permissions: Iterable[str], resource: str) -> list[str]:
    """Those of the permissions that whoever calls has on the resource."""
    if grants is None:
        return list(permissions)
    return [permission for permission in permissions if any(grant.allows(permission, resource) for grant in grants)]


def _project(request: Pb) -> str:
    return f"projects/{read_parent(request.parent)}"


def _secret(request: Pb) -> str:
    return str(read_secret(request.name))


def _parent(request: Pb) -> str:
    return str(read_secret(request.parent))


def _updated(request: Pb) -> str:
    return str(read_secret(request.secret.name))


def _version(request: Pb) -> str:
    name, version = read_version(request.name)
    return f"{name}/versions/{version}"


def _resource(request: Pb) -> str:
    return str(read_secret(request.resource))


About = Callable[[Any], str]

NEEDED: Final[dict[str, tuple[str, About]]] = {
    "CreateSecret": ("secretmanager.secrets.create", _project),
    "ListSecrets": ("secretmanager.secrets.list", _project),
    "GetSecret": ("secretmanager.secrets.get", _secret),
    "UpdateSecret": ("secretmanager.secrets.update", _updated),
    "DeleteSecret": ("secretmanager.secrets.delete", _secret),
    "AddSecretVersion": ("secretmanager.versions.add", _parent),
    "ListSecretVersions": ("secretmanager.versions.list", _parent),
    "GetSecretVersion": ("secretmanager.versions.get", _version),
    "AccessSecretVersion": ("secretmanager.versions.access", _version),
    "EnableSecretVersion": ("secretmanager.versions.enable", _version),
    "DisableSecretVersion": ("secretmanager.versions.disable", _version),
    "DestroySecretVersion": ("secretmanager.versions.destroy", _version),
    "GetIamPolicy": ("secretmanager.secrets.getIamPolicy", _resource),
    "SetIamPolicy": ("secretmanager.secrets.setIamPolicy", _resource),
}
"""The permission that each call takes, and the resource that it is checked on."""
