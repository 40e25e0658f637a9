"""The gRPC service: every call is admitted, run in one transaction, and answered or refused."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, NoReturn

import grpc

from local.emulators.gcp_secret_manager import grants, iam_rpcs, secret_rpcs, version_rpcs
from local.emulators.gcp_secret_manager.admission import Admission
from local.emulators.gcp_secret_manager.errors import Refused
from local.emulators.gcp_secret_manager.messages import Pb, request
from local.emulators.gcp_secret_manager.state import State

SERVICE: Final = "google.cloud.secretmanager.v1.SecretManagerService"
PROJECTS: Final = "google.cloud.resourcemanager.v3.Projects"
_THREADS: Final = 16


@dataclass(frozen=True)
class Call:
    """One method of the service: what does it, and the protobuf class of its request.

    ``tells`` says that it answers what the caller may do, which it is given too.
    """

    run: Callable[..., Pb]
    request: Any
    tells: bool = False


def calls(largest_page: int) -> dict[str, Call]:
    """Every method that the emulator knows."""
    return {
        "CreateSecret": Call(secret_rpcs.create_secret, request("CreateSecretRequest")),
        "GetSecret": Call(secret_rpcs.get_secret, request("GetSecretRequest")),
        "UpdateSecret": Call(secret_rpcs.update_secret, request("UpdateSecretRequest")),
        "ListSecrets": Call(
            partial(secret_rpcs.list_secrets, largest_page=largest_page), request("ListSecretsRequest")
        ),
        "DeleteSecret": Call(secret_rpcs.delete_secret, request("DeleteSecretRequest")),
        "AddSecretVersion": Call(version_rpcs.add_secret_version, request("AddSecretVersionRequest")),
        "GetSecretVersion": Call(version_rpcs.get_secret_version, request("GetSecretVersionRequest")),
        "AccessSecretVersion": Call(version_rpcs.access_secret_version, request("AccessSecretVersionRequest")),
        "ListSecretVersions": Call(
            partial(version_rpcs.list_secret_versions, largest_page=largest_page), request("ListSecretVersionsRequest")
        ),
        "EnableSecretVersion": Call(version_rpcs.enable_secret_version, request("EnableSecretVersionRequest")),
        "DisableSecretVersion": Call(version_rpcs.disable_secret_version, request("DisableSecretVersionRequest")),
        "DestroySecretVersion": Call(version_rpcs.destroy_secret_version, request("DestroySecretVersionRequest")),
        "GetIamPolicy": Call(iam_rpcs.get_iam_policy, iam_rpcs.GetIamPolicyRequest),
        "SetIamPolicy": Call(iam_rpcs.set_iam_policy, iam_rpcs.SetIamPolicyRequest),
        "TestIamPermissions": Call(iam_rpcs.test_iam_permissions, iam_rpcs.TestIamPermissionsRequest, tells=True),
    }


ON_PROJECTS: Final = {
    "TestIamPermissions": Call(iam_rpcs.test_project_permissions, iam_rpcs.TestIamPermissionsRequest, tells=True)
}
"""What there is of Resource Manager, at the same address."""


def make_server(state: State, admission: Admission, largest_page: int) -> grpc.Server:
    """A server with the whole service on it, not yet bound to a port."""
    # Two servers could share a port silently with SO_REUSEPORT, each answering some of the calls.
    server = grpc.server(ThreadPoolExecutor(_THREADS), options=[("grpc.so_reuseport", 0)])
    for service, known in ((SERVICE, calls(largest_page)), (PROJECTS, ON_PROJECTS)):
        handlers = {name: _handler(name, call, state, admission) for name, call in known.items()}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    return server


def _handler(name: str, call: Call, state: State, admission: Admission) -> Any:
    def answer(message: Pb, context: grpc.ServicerContext) -> Pb:
        try:
            granted = admission.admit(context.invocation_metadata())
            grants.check(granted, name, message)
            with state.transaction():
                return call.run(state, message, granted) if call.tells else call.run(state, message)
        except Refused as refused:
            _abort(context, refused)

    return grpc.unary_unary_rpc_method_handler(
        answer,
        request_deserializer=call.request.FromString,
        response_serializer=lambda message: message.SerializeToString(),
    )


def _abort(context: grpc.ServicerContext, refused: Refused) -> NoReturn:
    context.abort_with_status(refused.status())
