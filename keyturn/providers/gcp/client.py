"""The Secret Manager client, an emulator's channel, and checksums."""

import logging
from collections.abc import Sequence
from functools import reduce
from pathlib import Path
from typing import Any, Final

import grpc
from google.api_core.client_options import ClientOptions
from google.cloud.secretmanager_v1 import SecretManagerServiceClient
from google.cloud.secretmanager_v1.services.secret_manager_service.transports import SecretManagerServiceGrpcTransport

from keyturn.core.clear_text import is_loopback
from keyturn.core.errors import Invalid
from keyturn.providers.outbound import LARGEST_ANSWER

# At DEBUG the SDK's transport logs complete requests and answers, including payloads.
logging.getLogger(SecretManagerServiceGrpcTransport.__module__).addFilter(lambda record: record.levelno > logging.DEBUG)


_CRC32C: Final = tuple(reduce(lambda rest, _: rest >> 1 ^ 0x82F63B78 * (rest & 1), range(8), n) for n in range(256))


def crc32c(data: bytes) -> int:
    """CRC-32C (Castagnoli; source: RFC 3720, B.4)."""
    table, remainder = _CRC32C, 0xFFFFFFFF
    for byte in data:
        remainder = table[(remainder ^ byte) & 0xFF] ^ remainder >> 8
    return remainder ^ 0xFFFFFFFF


def open_client(
    name: str,
    location: str | None,
    endpoint: str | None,
    ca_file: str | None = None,
    token_file: str | None = None,
) -> SecretManagerServiceClient:
    """The global endpoint refuses regional names, and a regional one all others (source: "Regional endpoints")."""
    if endpoint is not None:
        return SecretManagerServiceClient(transport=emulator_transport(endpoint, name, ca_file, token_file))
    regional = f"secretmanager.{location}.rep.googleapis.com" if location else None
    return SecretManagerServiceClient(client_options=ClientOptions(api_endpoint=regional))


def kept_at(replication: Sequence[str], *, regional: bool, kms_key_name: str | None) -> dict[str, Any]:
    if regional:
        return {"customer_managed_encryption": {"kms_key_name": kms_key_name}} if kms_key_name else {}
    replicas = [{"location": location} for location in replication]
    return {"replication": {"user_managed": {"replicas": replicas}} if replicas else {"automatic": {}}}


def emulator_transport(
    endpoint: str, name: str, ca_file: str | None = None, token_file: str | None = None
) -> SecretManagerServiceGrpcTransport:
    """TLS with ``ca_file``, else plain text to this machine only; without credentials but the emulator's own token."""
    host, _, port = endpoint.rpartition(":")
    if not (host and port.isdigit()) or (ca_file is None and not is_loopback(host)):
        problem = f"endpoint {endpoint!r} is not a loopback host:port, and has no ca_file"
        raise Invalid("open", name, problem, "An endpoint is for an emulator; leave it out for Google Cloud")
    # By default the environment's proxy would see the values, and reconnecting would take up to two minutes.
    options = [("grpc.enable_http_proxy", 0), ("grpc.max_reconnect_backoff_ms", 1000)]
    options.append(("grpc.max_receive_message_length", LARGEST_ANSWER))
    if ca_file is None:
        return SecretManagerServiceGrpcTransport(channel=grpc.insecure_channel(endpoint, options=options))
    trust = grpc.ssl_channel_credentials(_content(ca_file, "ca_file", name))
    if token_file is not None:
        token = _content(token_file, "token_file", name).decode().strip()
        trust = grpc.composite_channel_credentials(trust, grpc.access_token_call_credentials(token))
    return SecretManagerServiceGrpcTransport(channel=grpc.secure_channel(endpoint, trust, options=options))


def _content(file: str, key: str, name: str) -> bytes:
    try:
        return Path(file).read_bytes()
    except OSError as error:
        problem = f"its {key} {file} can't be read: {error.strerror}"
        raise Invalid("open", name, problem, "Correct the path, and who may read the file") from None
