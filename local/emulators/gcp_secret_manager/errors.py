"""What the service says no with: a status code, a sentence, and the details that clients act upon."""

from typing import NoReturn

import grpc
from google.rpc import status_pb2  # type: ignore[import-untyped]
from grpc_status import rpc_status

from local.emulators.gcp_secret_manager.messages import Packed, Pb


class Refused(Exception):
    """One refusal; it holds names and rules, never a payload."""

    def __init__(self, code: grpc.StatusCode, message: str, *details: Pb) -> None:
        super().__init__(message)
        self.code = code
        self.details = details

    def status(self) -> grpc.Status:
        """The refusal as gRPC sends it, with its details in the trailing metadata."""
        packed = [Packed() for _ in self.details]
        for holder, detail in zip(packed, self.details, strict=True):
            holder.Pack(detail)
        number: int = self.code.value[0]
        return rpc_status.to_status(status_pb2.Status(code=number, message=str(self), details=packed))


def invalid(message: str) -> NoReturn:
    """The request itself is wrong."""
    raise Refused(grpc.StatusCode.INVALID_ARGUMENT, message)


def not_found(message: str) -> NoReturn:
    """What it names does not exist."""
    raise Refused(grpc.StatusCode.NOT_FOUND, message)


def failed_precondition(message: str) -> NoReturn:
    """The state does not allow it."""
    raise Refused(grpc.StatusCode.FAILED_PRECONDITION, message)


def unimplemented(feature: str) -> NoReturn:
    """The service can, the emulator can't."""
    raise Refused(grpc.StatusCode.UNIMPLEMENTED, f"The emulator does not implement {feature}.")
