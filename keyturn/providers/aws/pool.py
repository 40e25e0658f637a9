"""boto3 with a rotated access key: every request is signed with the current secret.

session = open_secret_session(client, "ml-training/uploader", region_name="eu-central-1")
session.client("s3").list_objects_v2(Bucket="models")
"""

import threading
from collections.abc import Mapping
from typing import Any, Final

import boto3
from botocore.credentials import CredentialProvider, CredentialResolver, Credentials, ReadOnlyCredentials
from botocore.session import Session as BotocoreSession

from keyturn.client.client import SecretClient
from keyturn.client.renewer import Renewer

REFUSED: Final = frozenset(
    {
        "AuthFailure",
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
TRIED_AGAIN: Final = "keyturn-tried-again"


def open_secret_session(client: SecretClient, path: str, **settings: Any) -> boto3.Session:
    """A session that signs with the secret at ``path``; ``settings`` are other arguments of :class:`boto3.Session`.

    The fields are those of an ``aws-iam-key``: ``access_key_id``, ``secret_access_key`` and an optional
    ``session_token``. A request with a refused key is sent once more if the secret has changed.
    """
    credentials = SecretCredentials(client, path)
    session = BotocoreSession()
    session.register_component("credential_provider", CredentialResolver([_Provider(credentials)]))
    session.register("needs-retry", credentials.needs_retry)  # type: ignore[arg-type]
    return boto3.Session(botocore_session=session, **settings)


class SecretCredentials(Credentials):
    def __init__(self, client: SecretClient, path: str) -> None:
        self.method = "keyturn"
        self.account_id = None
        self._client = client
        self._path = path
        self._renewer = Renewer(client, path)
        self._signed = threading.local()

    @property
    def access_key(self) -> str:  # type: ignore[override]
        return self._client.field(self._path, "access_key_id").reveal()

    @property
    def secret_key(self) -> str:  # type: ignore[override]
        return self._client.field(self._path, "secret_access_key").reveal()

    @property
    def token(self) -> str | None:  # type: ignore[override]
        return self.get_frozen_credentials().token

    def get_frozen_credentials(self) -> ReadOnlyCredentials:
        """Raises the client's errors."""
        secret = self._signed.secret = self._client.get(self._path)
        key, token = secret.field("secret_access_key").reveal(), secret.fields.get("session_token")
        return ReadOnlyCredentials(secret.field("access_key_id").reveal(), key, token.reveal() if token else None, None)

    def needs_retry(self, response: Any, request_dict: Mapping[str, Any], **_: Any) -> float | None:
        """Seconds until the request is sent again; None for no retry."""
        context, secret = request_dict["context"], getattr(self._signed, "secret", None)
        code = str(response[1].get("Error", {}).get("Code", "")) if response else ""
        if TRIED_AGAIN in context or secret is None or code not in REFUSED:
            return None
        context[TRIED_AGAIN] = True
        return None if self._renewer.other_than(secret) is None else 0.0


class _Provider(CredentialProvider):
    METHOD = "keyturn"

    def __init__(self, credentials: SecretCredentials) -> None:
        super().__init__()
        self._credentials = credentials

    def load(self) -> Credentials:
        return self._credentials
