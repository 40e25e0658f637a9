"""The current login's rights on a store's secrets, from Google's permission tests.

Source: "projects.secrets.testIamPermissions" of both API references: an absent secret has no permissions.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from typing import Any, Final

import grpc
from google.api_core import exceptions as api
from google.auth import exceptions as auth
from google.iam.v1 import iam_policy_pb2  # type: ignore[import-untyped]

from keyturn.core.errors import Denied, NotFound
from keyturn.core.rights import gcp_rights
from keyturn.core.rights.rights import ANYTHING, AccountRights, CopyRights, Verdict
from keyturn.providers.gcp.client import open_client
from keyturn.providers.gcp.errors import from_gcp
from keyturn.providers.gcp.iam import GcpIam
from keyturn.providers.gcp.store import DEADLINE

DOING: Final = "ask for the rights on"
AT_ONCE: Final = 8

ON_SECRET: Final = tuple(
    f"secretmanager.{name}"
    for name in (
        "secrets.delete",
        "secrets.get",
        "secrets.getIamPolicy",
        "secrets.setIamPolicy",
        "secrets.update",
        "versions.access",
        "versions.add",
        "versions.destroy",
        "versions.disable",
        "versions.enable",
        "versions.get",
        "versions.list",
    )
)
ON_PROJECT: Final = (
    *ON_SECRET,
    "secretmanager.secrets.create",
    "secretmanager.secrets.list",
    "resourcemanager.projects.setIamPolicy",
    "iam.roles.update",
    "iam.serviceAccountKeys.create",
    "iam.serviceAccounts.getAccessToken",
)

ABSENT: Final = "it does not exist yet, and Google reports rights only for what exists"
UNNAMED: Final = "only the hub knows these names, and Google reports rights only by name"
ON_PROJECTS: Final = "/google.cloud.resourcemanager.v3.Projects/TestIamPermissions"
EMULATED: Final = "this emulator has no Resource Manager, which would report it"


def ask_secret_manager(
    name: str,
    copies: CopyRights,
    revoking: bool,
    *,
    project: str,
    location: str | None = None,
    endpoint: str | None = None,
    ca_file: str | None = None,
    token_file: str | None = None,
    old_versions: str = "disable",
    resource_manager: str | None = None,
    **others: Any,
) -> Iterator[Verdict]:
    """The needed rights, then any excess ones. Raises Denied, Unavailable.

    ``resource_manager`` is an emulator's address for that service.
    """
    scope = gcp_rights.GcpScope(location or "", old_versions)
    needed = gcp_rights.on_copies(scope, copies) + (gcp_rights.in_emergencies(scope, copies) if revoking else ())
    parent = f"projects/{project}" + (f"/locations/{location}" if location else "")
    needed_there = gcp_rights.on_project(copies)
    everywhere = needed_there + (() if gcp_rights.conditions(scope, copies) else needed)
    with _translated(name):
        client = open_client(name, location, endpoint, ca_file, token_file)
    with closing(client.transport), ThreadPoolExecutor(AT_ONCE) as pool:
        if endpoint is None or resource_manager is not None:
            yield from _on_project(name, project, everywhere, resource_manager)
        elif (held := _held_at_emulator(name, client, project)) is not None:
            yield from _compared(project, everywhere, held)
        else:
            yield from (Verdict(permission, parent, True, None, EMULATED, askable=False) for permission in needed_there)
        asking = _Secrets(name, client, parent, (*needed, *(set(needed_there) & set(ON_SECRET))))
        for verdicts in pool.map(asking.about, copies.names):
            yield from verdicts


def ask_service_accounts(
    name: str, accounts: AccountRights, revoking: bool, *, project: str, endpoint: str | None = None
) -> Iterator[Verdict]:
    """The needed rights, then any excess ones. Raises Denied, NotFound, Unavailable."""
    needed = gcp_rights.ON_ACCOUNT
    with closing(GcpIam(name, project=project, endpoint=endpoint)) as iam:
        for account in accounts.names:
            held = iam.permissions_on_account(account, (*needed, *BEYOND_KEYS))
            yield from (Verdict(permission, account, True, permission in held) for permission in needed)
            yield from (Verdict(permission, account, False, True) for permission in BEYOND_KEYS if permission in held)
        if accounts.names:
            everywhere = iam.permissions_on_project((*needed, *ON_PROJECT))
            place = f"projects/{project}"
            yield from (Verdict(permission, place, False, True) for permission in sorted(everywhere))


BEYOND_KEYS: Final = (
    "iam.serviceAccounts.actAs",
    "iam.serviceAccounts.delete",
    "iam.serviceAccounts.getAccessToken",
    "iam.serviceAccounts.setIamPolicy",
    "iam.serviceAccounts.update",
)


def _on_project(name: str, project: str, needed: Sequence[str], endpoint: str | None) -> Iterator[Verdict]:
    with closing(GcpIam(name, project=project, endpoint=endpoint)) as iam:
        held = iam.permissions_on_project(ON_PROJECT)
    yield from _compared(project, needed, held)


def _compared(project: str, needed: Sequence[str], held: frozenset[str]) -> Iterator[Verdict]:
    place = f"projects/{project}"
    yield from (Verdict(permission, place, True, permission in held) for permission in needed)
    yield from (Verdict(permission, place, False, True) for permission in ON_PROJECT if permission in held - {*needed})


def _held_at_emulator(name: str, client: Any, project: str) -> frozenset[str] | None:
    """An emulator's answer at its own address, where Google has another; None from one without Resource Manager."""
    ask = client.transport.grpc_channel.unary_unary(
        ON_PROJECTS,
        request_serializer=lambda request: request.SerializeToString(),
        response_deserializer=iam_policy_pb2.TestIamPermissionsResponse.FromString,
    )
    request = iam_policy_pb2.TestIamPermissionsRequest(resource=f"projects/{project}", permissions=ON_PROJECT)
    try:
        return frozenset(ask(request, timeout=DEADLINE).permissions)
    except grpc.RpcError as error:
        if error.code() is grpc.StatusCode.UNIMPLEMENTED:
            return None
        raise from_gcp(api.from_grpc_error(error), DOING, name) from None  # type: ignore[no-untyped-call]


class _Secrets:
    def __init__(self, name: str, client: Any, parent: str, needed: Sequence[str]) -> None:
        self._name = name
        self._client = client
        self._parent = parent
        self._needed = needed

    def about(self, remote: str) -> list[Verdict]:
        path = f"{self._parent}/secrets/{remote}"
        if ANYTHING in remote:
            return [Verdict(ANYTHING, path, True, None, UNNAMED, askable=False)]
        held = self._held(path)
        if not held and self._is_absent(path):
            return [Verdict(ANYTHING, path, True, None, ABSENT, askable=False)]
        needed = [Verdict(permission, path, True, permission in held) for permission in self._needed]
        beyond = [permission for permission in ON_SECRET if permission in held and permission not in self._needed]
        return [*needed, *(Verdict(permission, path, False, True) for permission in beyond)]

    def _held(self, path: str) -> frozenset[str]:
        request = {"resource": path, "permissions": list(ON_SECRET)}
        with _translated(self._name):
            answer = self._client.test_iam_permissions(request=request, retry=None, timeout=DEADLINE)
        return frozenset(answer.permissions)

    def _is_absent(self, path: str) -> bool:
        try:
            with suppress(Denied), _translated(self._name):
                self._client.get_secret(request={"name": path}, retry=None, timeout=DEADLINE)
        except NotFound:
            return True
        return False


@contextmanager
def _translated(name: str) -> Iterator[None]:
    try:
        yield
    except (api.GoogleAPIError, auth.GoogleAuthError) as error:
        raise from_gcp(error, DOING, name) from None
