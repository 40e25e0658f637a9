"""The calls on a secret's IAM policy. It is kept and given back; the emulator does not evaluate it.

What whoever calls may do is told by the grants of :mod:`admission`.
"""

import secrets
from collections.abc import Collection
from typing import Any, Final

import grpc
from google.iam.v1 import iam_policy_pb2, policy_pb2  # type: ignore[import-untyped]

from local.emulators.gcp_secret_manager.errors import Refused, invalid
from local.emulators.gcp_secret_manager.grants import Grant, held
from local.emulators.gcp_secret_manager.messages import Pb
from local.emulators.gcp_secret_manager.resource_names import read_secret
from local.emulators.gcp_secret_manager.state import State

_NEVER_SET: Final = b"\x00\x20\x01"
"""The etag of a policy that was never set."""

GetIamPolicyRequest: Final[Any] = iam_policy_pb2.GetIamPolicyRequest
SetIamPolicyRequest: Final[Any] = iam_policy_pb2.SetIamPolicyRequest
TestIamPermissionsRequest: Final[Any] = iam_policy_pb2.TestIamPermissionsRequest


def get_iam_policy(state: State, request: Pb) -> Pb:
    """The policy; an empty one where none was ever set."""
    policy = state.policy(state.secret(read_secret(request.resource)))
    return policy_pb2.Policy(etag=_NEVER_SET) if policy is None else policy_pb2.Policy.FromString(policy)


def set_iam_policy(state: State, request: Pb) -> Pb:
    """Replace the policy; an etag of a policy that has been replaced since is ABORTED."""
    secret = state.secret(read_secret(request.resource))
    stored = state.policy(secret)
    current = _NEVER_SET if stored is None else policy_pb2.Policy.FromString(stored).etag
    if request.policy.etag and request.policy.etag != current:
        raise Refused(grpc.StatusCode.ABORTED, "There were concurrent policy changes. Read the policy and try again.")
    if not all(binding.role for binding in request.policy.bindings):
        invalid("Every binding of a policy needs a role.")
    policy = policy_pb2.Policy()
    policy.CopyFrom(request.policy)
    policy.etag = secrets.token_bytes(8)
    state.set_policy(secret, policy.SerializeToString())
    return policy


def test_iam_permissions(state: State, request: Pb, granted: Collection[Grant] | None) -> Pb:
    """Those of the permissions that the caller holds; none of a secret that is not there, which is no error."""
    for permission in request.permissions:
        if not permission.startswith("secretmanager.") or "*" in permission:
            invalid(f"Permission {permission} is not valid for this resource.")
    name = read_secret(request.resource)
    own = held(granted, request.permissions, str(name)) if state.find_secret(name) else []
    return iam_policy_pb2.TestIamPermissionsResponse(permissions=own)


def test_project_permissions(state: State, request: Pb, granted: Collection[Grant] | None) -> Pb:
    """Those of the permissions that the caller holds on the whole project."""
    return iam_policy_pb2.TestIamPermissionsResponse(permissions=held(granted, request.permissions, request.resource))
