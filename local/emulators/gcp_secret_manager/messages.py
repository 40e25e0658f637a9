"""The protobuf classes inside the SDK's messages.

They are used bare because the wrappers turn timestamps into datetimes and cost most of a call's CPU time.
"""

import secrets
import time
from typing import Any, Final

from google.cloud.secretmanager_v1.types import resources, service
from google.protobuf import any_pb2, duration_pb2, empty_pb2, timestamp_pb2  # type: ignore[import-untyped]

Pb = Any
"""A protobuf message; protobuf's classes are made at run time, so the type checker can't see into them."""

Packed: Final[Any] = any_pb2.Any
Duration: Final[Any] = duration_pb2.Duration
Empty: Final[Any] = empty_pb2.Empty
Timestamp: Final[Any] = timestamp_pb2.Timestamp

Secret: Final[Any] = resources.Secret.pb()
SecretVersion: Final[Any] = resources.SecretVersion.pb()

ListSecretsResponse: Final[Any] = service.ListSecretsResponse.pb()
ListSecretVersionsResponse: Final[Any] = service.ListSecretVersionsResponse.pb()
AccessSecretVersionResponse: Final[Any] = service.AccessSecretVersionResponse.pb()

ENABLED: Final = int(resources.SecretVersion.State.ENABLED)
DISABLED: Final = int(resources.SecretVersion.State.DISABLED)
DESTROYED: Final = int(resources.SecretVersion.State.DESTROYED)


def request(name: str) -> Any:
    """The protobuf class of the request of this name."""
    return getattr(service, name).pb()


def fresh_etag() -> str:
    """An etag that never stood before, in double quotes as the service gives it."""
    return f'"{secrets.token_hex(7)}"'


def stamp(seconds: float | None = None) -> Pb:
    """A timestamp of these seconds since the epoch, or of now, to the microsecond as the service gives it."""
    microseconds = round((time.time() if seconds is None else seconds) * 1_000_000)
    return Timestamp(seconds=microseconds // 1_000_000, nanos=microseconds % 1_000_000 * 1000)


def seconds_of(moment: Pb) -> float:
    """A timestamp since the epoch, or a duration, in seconds."""
    return float(moment.seconds + moment.nanos / 1_000_000_000)
