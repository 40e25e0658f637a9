"""Connections, sign-in and error translation of the AWS adapters."""

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from typing import Any, Final

import boto3
from botocore.awsrequest import AWSConnection
from botocore.config import Config
from botocore.credentials import CredentialProvider, CredentialResolver, DeferredRefreshableCredentials
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
    TokenRetrievalError,
)
from botocore.exceptions import ConnectionError as NotConnected
from botocore.loaders import Loader, create_loader
from botocore.parsers import ResponseParserError
from botocore.session import Session as BotocoreSession
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from keyturn.core.errors import Conflict, Denied, Invalid, KeyturnError, Locked, NotFound, Throttled, Unavailable
from keyturn.providers import outbound
from keyturn.providers.connection_errors import RemoteServer, from_connection
from keyturn.providers.pages import bounded

SDK_CONFIG: Final = Config(
    connect_timeout=5,
    read_timeout=10,
    max_pool_connections=20,
    # The flows retry at the store's pace; this only covers one dropped connection.
    retries={"mode": "standard", "total_max_attempts": 2},
    user_agent_extra="keyturn",
)

AWS: Final = RemoteServer(
    check="Check the network, region and endpoint",
    address="region or endpoint",
    authority="Set AWS_CA_BUNDLE to its CA file",
    who="AWS",
    whose="AWS's",
)

LONGEST_CALL: Final = 15.0
"""Seconds for one call, including a retry."""
SERVICES: Final = ("secretsmanager", "ssm", "sts")
KINDS: Final = ("service-2", "endpoint-rule-set-1")
DATA: Final = ("endpoints", "partitions", "sdk-default-configuration", "_retry")

for _told_whole in ("botocore.endpoint", "botocore.parsers"):
    # At DEBUG these two log complete requests and answers, including secret values.
    logging.getLogger(_told_whole).setLevel(logging.INFO)

ERRORS: Final[Mapping[str, type[KeyturnError]]] = {
    code: kind
    for kind, codes in {
        NotFound: (
            "AWS.SimpleQueueService.NonExistentQueue InvalidResourceId NoSuchBucket NoSuchEntity NoSuchKey NotFound "
            "NotFoundException ParameterNotFound QueueDoesNotExist ResourceNotFoundException"
        ),
        Denied: (
            "AccessDenied AccessDeniedException AuthorizationError AuthorizationErrorException DecryptionFailure "
            "EncryptionFailure ExpiredToken ExpiredTokenException IncompleteSignature InvalidClientTokenId "
            "InvalidSignatureException KMSAccessDenied KMSAccessDeniedException KMSDisabled KmsAccessDenied "
            "KmsDisabled MissingAuthenticationToken MissingAuthenticationTokenException NotAuthorized OptInRequired "
            "RequestExpired SignatureDoesNotMatch UnrecognizedClientException"
        ),
        Throttled: "KMSThrottling KmsThrottled RequestLimitExceeded SlowDown TooManyRequestsException",
        Conflict: "AlreadyExistsException ParameterAlreadyExists ResourceExistsException",
        Locked: "ConcurrentModification ConflictException EntityTemporarilyUnmodifiable TooManyUpdates",
        Unavailable: "DependencyTimeoutException InternalServerError InternalServiceError",
    }.items()
    for code in codes.split()
}
"""Codes of Secrets Manager, Parameter Store, IAM, KMS, STS and "Common errors"; any other is Invalid."""

PERMISSIONS: Final[Mapping[str, str]] = {
    operation: hint.replace("*", operation)
    for hint, operations in {
        "Allow iam:* on the user whose keys are rotated": (
            "CreateAccessKey DeleteAccessKey GetAccessKeyLastUsed GetUser GetUserPolicy ListAccessKeys PutUserPolicy "
            "UpdateAccessKey"
        ),
        "Allow kms:* on the key, in its policy too, with the context that the call has": "Decrypt GenerateDataKey",
        "Allow kms:* on the key, in its policy too, as `keyturn setup store` writes it": (
            "CreateAlias CreateGrant DescribeKey EnableKeyRotation GetKeyPolicy GetKeyRotationStatus ListAliases "
            "ListGrants ListKeyRotations PutKeyPolicy RevokeGrant RotateKeyOnDemand"
        ),
        "Allow s3:GetObject on the trail, and kms:Decrypt where a key of your own encrypts it": "GetObject",
        "Allow s3:ListBucket on the trail, and kms:Decrypt where a key of your own encrypts it": "ListObjectsV2",
        "Allow tag:GetResources, which lists the tags of parameters": "GetResources",
        "Allow sns:* on it, and its KMS key where one of your own encrypts": "Publish",
        "Allow sqs:* on it, and its KMS key where one of your own encrypts": "DeleteMessage ReceiveMessage SendMessage",
        "Allow ssm:*, and kms:Encrypt, kms:Decrypt and kms:GenerateDataKey on a key of your own": (
            "AddTagsToResource DeleteParameter DescribeParameters GetParameter GetParameterHistory GetParameters "
            "ListTagsForResource PutParameter RemoveTagsFromResource"
        ),
    }.items()
    for operation in operations.split()
}
"""Hints for a missing permission, by operation."""
NO_PERMISSION: Final = frozenset({"AccessDenied", "AccessDeniedException", "AuthorizationError", "NotAuthorized"})
NO_QUEUE: Final = "Make the queue or topic, or correct its ARN in the catalogue"
KEY_OF_QUEUE: Final = "Allow kms:GenerateDataKey and kms:Decrypt on the KMS key that encrypts it"
KEY_OF_SECRET: Final = (
    "Allow kms:Decrypt and kms:GenerateDataKey on the secret's KMS key, and see that the key is enabled"
)
HINTS: Final[Mapping[str, str]] = {
    "AlreadyExistsException": "The alias points to another key: move it by hand, once nothing uses that key through it",
    "LimitExceededException": "KMS allows 25 rotations of a key on demand: let it rotate by itself, and drop interval",
    "DecryptionFailure": KEY_OF_SECRET,
    "EncryptionFailure": KEY_OF_SECRET,
    "HierarchyTypeMismatchException": "AWS keeps this parameter's type: delete it, or give the store the same type",
    "InvalidKeyId": "See that the KMS key is there in this region, is enabled, and may be used",
    "ParameterLimitExceeded": "The region is full for this tier: delete parameters, or use the Advanced tier",
    "ParameterMaxVersionLimitExceeded": "Its oldest version has a label: move the label to a newer version",
    "AWS.SimpleQueueService.NonExistentQueue": NO_QUEUE,
    "KMSAccessDenied": KEY_OF_QUEUE,
    "KmsAccessDenied": KEY_OF_QUEUE,
    "NotFound": NO_QUEUE,
    "NotFoundException": NO_QUEUE,
    "QueueDoesNotExist": NO_QUEUE,
    "ParameterPatternMismatchException": "The parameter's AllowedPattern refuses the value: change the pattern",
}

SLOWER: Final = "It is retried automatically. If it continues, find what else calls AWS so often, or raise the quota"

NO_IDENTITY: Final = (
    CredentialRetrievalError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
    TokenRetrievalError,
)


def from_aws(error: Exception, doing: str, name: str) -> KeyturnError:
    """Keeps AWS's code and none of its text."""
    if isinstance(error, ClientError):
        return _from_answer(error, doing, name)
    kind = type(error).__name__
    if isinstance(error, NO_IDENTITY):
        return Denied(doing, name, f"no usable AWS credentials ({kind})", "Give this process a role, or a profile")
    if isinstance(error, NotConnected | HTTPClientError | IncompleteReadError | ResponseParserError):
        return from_connection(error, doing, name, AWS)
    return Invalid(doing, name, f"the AWS SDK refuses this ({kind})", "Check the region, endpoint and settings")


def from_code(code: str, operation: str, doing: str, name: str) -> KeyturnError:
    problem = f"AWS answered {code} to {operation}"
    if code.startswith(("Throttl", "RequestThrottled")) or ERRORS.get(code) is Throttled:
        return Throttled(doing, name, problem, SLOWER)
    return ERRORS.get(code, Invalid)(doing, name, problem, _hint(code, operation))


@dataclass(frozen=True)
class AwsSettings:
    """Boto3's default credentials or ``profile`` sign in; ``role_arn`` is then assumed, and renewed in time."""

    region: str
    endpoint_url: str | None = None
    profile: str | None = None
    role_arn: str | None = None


def open_session(settings: AwsSettings) -> boto3.Session:
    source = _OutboundSession(settings.profile).shared()
    if not settings.role_arn:
        return source
    session = _OutboundSession()
    session.register_component("credential_provider", CredentialResolver([_AssumedRole(source, settings)]))
    return session.shared()


@cache
def described(data_path: str | None) -> Loader:
    return create_loader(data_path)


def load_descriptions() -> None:
    """Read the stores' service descriptions ahead of the first session."""
    loader = described(None)
    for service in SERVICES:
        for kind in KINDS:
            loader.load_service_model(service, kind)
    for data in DATA:
        loader.load_data_with_path(data)


class _OutboundSession(BotocoreSession):
    """The SDK's session with our connections and a time limit, for which it has no setting."""

    def __init__(self, profile: str | None = None) -> None:
        super().__init__(profile=profile)
        self.lazy_register_component("data_loader", lambda: described(self.get_config_variable("data_path")))

    def shared(self) -> boto3.Session:
        """Each boto3 session adds a directory to the shared loader, so duplicates are removed."""
        session = boto3.Session(botocore_session=self)
        places = self.get_component("data_loader").search_paths
        places[:] = dict.fromkeys(places)
        return session

    def create_client(self, *args: Any, **settings: Any) -> Any:
        client: Any = super().create_client(*args, **settings)
        endpoint = client._endpoint
        endpoint.http_session._pool_classes_by_scheme.update(POOLS)
        send = endpoint.make_request

        def make_request(*request: Any) -> Any:
            with outbound.within(LONGEST_CALL):
                return send(*request)

        endpoint.make_request = make_request
        return client


def _pool(kind: type, connection: type) -> Any:
    return type("AwsPool", (kind,), {"ConnectionCls": type("AwsConnection", (AWSConnection, connection), {})})


POOLS: Final[Mapping[str, Any]] = {
    "http": _pool(HTTPConnectionPool, outbound.Connection),
    "https": _pool(HTTPSConnectionPool, outbound.SecureConnection),
}


class _AssumedRole(CredentialProvider):
    METHOD = "assume-role"

    def __init__(self, source: boto3.Session, settings: AwsSettings) -> None:
        super().__init__()
        self._source = source
        self._settings = settings

    def load(self) -> DeferredRefreshableCredentials:
        return DeferredRefreshableCredentials(self._assume, self.METHOD)

    def _assume(self) -> dict[str, str]:
        settings = self._settings
        sts = self._source.client(
            "sts", region_name=settings.region, endpoint_url=settings.endpoint_url, config=SDK_CONFIG
        )
        credentials = sts.assume_role(RoleArn=settings.role_arn or "", RoleSessionName="keyturn")["Credentials"]
        return {
            "access_key": credentials["AccessKeyId"],
            "secret_key": credentials["SecretAccessKey"],
            "token": credentials["SessionToken"],
            "expiry_time": credentials["Expiration"].isoformat(),
        }


@contextmanager
def opening(name: str, settings: AwsSettings, of: str = "store") -> Iterator[boto3.Session]:
    """Raises Invalid or Denied for unusable settings."""
    with translate_aws_errors("open", name):
        try:
            yield open_session(settings)
        except ValueError:
            problem = f"region {settings.region!r} or endpoint {settings.endpoint_url!r} is malformed"
            raise Invalid("open", name, problem, f"Correct the {of}'s settings") from None


def service_client(service: str, name: str, settings: AwsSettings) -> Any:
    """Raises Invalid or Denied for unusable settings."""
    with opening(name, settings) as session:
        make: Any = session.client  # the stubs need the service's name as a literal
        return make(service, region_name=settings.region, endpoint_url=settings.endpoint_url, config=SDK_CONFIG)


@contextmanager
def translate_aws_errors(doing: str, name: str) -> Iterator[None]:
    try:
        yield
    except (ClientError, BotoCoreError, ResponseParserError) as error:
        raise from_aws(error, doing, name) from None


def bounded_pages(pages: Iterable[Mapping[str, Any]], doing: str, name: str) -> Iterator[Mapping[str, Any]]:
    """Raises Unavailable for an endless listing."""
    return bounded(pages, lambda page: next((str(page[key]) for key in FOLLOWING if page.get(key)), None), doing, name)


def items_of(pages: Iterable[Mapping[str, Any]], key: str, doing: str, name: str) -> Iterator[Any]:
    """The items of all pages. Raises Unavailable like :func:`bounded_pages` and :func:`field`."""
    for page in bounded_pages(pages, doing, name):
        yield from field(page, key, doing, name)


FOLLOWING: Final = ("NextToken", "PaginationToken", "Marker", "NextContinuationToken")


def field(answer: Mapping[str, Any], name: str, doing: str, of: str) -> Any:
    """Raises Unavailable for a missing field, as when a proxy answers."""
    if name not in answer:
        raise Unavailable(doing, of, f"the answer lacks {name}", "Check that the endpoint is AWS's own")
    return answer[name]


def as_tags(tags: Mapping[str, str]) -> list[Any]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def read_tags(pairs: Iterable[Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in pairs}


def _from_answer(error: ClientError, doing: str, name: str) -> KeyturnError:
    code, operation = error.response["Error"]["Code"], error.operation_name
    status = error.response["ResponseMetadata"]["HTTPStatusCode"]
    problem = f"AWS answered {code} to {operation}"
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return Throttled(doing, name, problem, SLOWER)
    if status >= 500:
        return Unavailable(doing, name, problem, "It is tried again by itself; see AWS's service health")
    return from_code(code, operation, doing, name)


def _hint(code: str, operation: str) -> str:
    if code in NO_PERMISSION:
        return _missing_permission(operation)
    if code == "ValidationException" and operation == "PutParameter":
        return "See that the value holds no {{ }}, and that the store's tier is not below the parameter's"
    return HINTS.get(code) or (
        "Check the access key or sign in again, and the clock" if ERRORS.get(code) is Denied else ""
    )


def _missing_permission(operation: str) -> str:
    service = "sts" if operation == "AssumeRole" else "secretsmanager"
    other = f"Allow {service}:{operation}, and kms:Decrypt and kms:GenerateDataKey where a key of your own encrypts"
    return PERMISSIONS.get(operation, other)
