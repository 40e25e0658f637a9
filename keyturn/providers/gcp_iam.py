"""Google Cloud IAM as a target: keys of service accounts, as :class:`keyturn.core.cloud_keys.CloudKeys`.

IAM's reads are eventually consistent, and a new key signs in some seconds after it was made. Source: "REST
Resource: projects.serviceAccounts.keys" in the IAM API reference, "Using OAuth 2.0 for Server to Server
Applications", and for uses "Monitor usage patterns for service accounts and keys": that metric tells of each
sign-in to ten minutes, where Activity Analyzer tells the day of the last one.
"""

import base64
import binascii
import functools
import ipaddress
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any, Final

import google.auth
import requests
from google.auth import crypt
from google.auth import exceptions as auth
from google.auth.credentials import AnonymousCredentials
from google.auth.transport import requests as transport
from google.oauth2 import service_account

from keyturn.core import errors
from keyturn.core.cloud_keys import CREDENTIALS_JSON, NEVER, CloudKey, KeyUse
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.core.strategies import EXPIRES_AT

IAM: Final = "https://iam.googleapis.com"
MONITORING: Final = "https://monitoring.googleapis.com"
METRIC: Final = "iam.googleapis.com/service_account/key/authn_events_count"
SCOPE: Final = "https://www.googleapis.com/auth/cloud-platform"
SMALL_SCOPE: Final = "https://www.googleapis.com/auth/userinfo.email"
"""What a new key is tried for: a token that opens next to nothing."""
DEADLINE: Final = 10.0
"""Seconds that one call may take. Nothing is repeated here: the flows retry."""
PROBE: Final = b"keyturn"

AGAIN: Final = "Run the rotation again: it makes another key"
CHECK: Final = "Check the network and the endpoint"
SIGN_IN: Final = "Set GOOGLE_APPLICATION_CREDENTIALS, or run: gcloud auth application-default login"
GRANT: Final = "Grant roles/iam.serviceAccountKeyAdmin on the service account to the caller, and enable the IAM API"
NO_ACCOUNT: Final = "Correct the service account in the secret's rotation, or the project of the target"
NO_KEY: Final = "An account has ten keys at most, and an organization policy may forbid to make any"

# At DEBUG it logs whole requests and answers, private keys included.
logging.getLogger(transport.__name__).addFilter(lambda record: record.levelno > logging.DEBUG)


class GcpIam:
    """The service accounts of one project."""

    def __init__(self, name: str, *, project: str, endpoint: str | None = None) -> None:
        """Open it with application default credentials, or without any at ``endpoint``, a loopback host:port.

        Raises Denied without credentials, and Invalid for an endpoint that isn't loopback.
        """
        if endpoint is not None and not _is_loopback(endpoint):
            problem, hint = f"endpoint {endpoint!r} is not a loopback host:port", "Leave it out for Google Cloud"
            raise errors.Invalid("open", name, problem, hint)
        self.name = name
        self._project = f"projects/{project}"
        self._iam, self._monitoring = (IAM, MONITORING) if endpoint is None else (f"http://{endpoint}",) * 2
        with self._translated("open", name):
            self._session = transport.AuthorizedSession(_own_credentials(endpoint))  # type: ignore[no-untyped-call]
        self._signing_in = requests.Session()
        # On loopback, a proxy of the environment would see the keys.
        self._session.trust_env = self._signing_in.trust_env = endpoint is None

    def keys(self, account: str) -> Sequence[CloudKey]:
        """The keys that people made, disabled ones too. Raises NotFound where there is no such account."""
        listed = self._call("list the keys of", account, "GET", f"{self._path(account)}/keys?keyTypes=USER_MANAGED")
        return [_listed(key) for key in listed.get("keys", [])]

    def create(self, account: str) -> SecretFields:
        """A new key file, and when it ends where it does. Raises Invalid where the account can have no more keys."""
        doing = "make a key for"
        try:
            made = self._call(doing, account, "POST", f"{self._path(account)}/keys")
        except errors.Invalid as error:
            raise errors.Invalid(doing, self._named(account), error.problem, NO_KEY) from None
        text = base64.b64decode(self._field(made, "privateKeyData", doing, account)).decode()
        end = made.get("validBeforeTime", NEVER)
        return SecretFields({CREDENTIALS_JSON: text} | ({} if end == NEVER else {EXPIRES_AT: end}))

    def accepts(self, account: str, key: SecretFields) -> bool:
        """Exchange what the key signs for a token.

        Raises CandidateRejected, also for a private key that is not the named key's own: Google tries every key
        of the account. Raises Invalid where the account is disabled.
        """
        credentials = self._credentials(account, key[CREDENTIALS_JSON])
        granted = self._granted(account, credentials)
        self._insist_on_own_pair(account, credentials)
        if not granted:
            self._insist_on_enabled(account)
        return granted

    def last_use(self, account: str, key_id: str, since: datetime) -> KeyUse | None:
        """The latest sign-in after ``since``, which Google tells to ten minutes, some minutes to hours later.

        None too where the caller may not read the project's metrics.
        """
        query = {
            "filter": f'metric.type = "{METRIC}" AND metric.labels.key_id = "{key_id}"',
            "interval.startTime": since.astimezone(UTC).isoformat(),
            "interval.endTime": datetime.now(UTC).isoformat(),
        }
        address = f"{self._monitoring}/v3/{self._project}/timeSeries"
        try:
            told = self._call("look up the use of a key of", account, "GET", address, params=query)
        except errors.Denied:
            return None
        points = [point for series in told.get("timeSeries", []) for point in series.get("points", [])]
        return _latest(points, since)

    def end(self, account: str, key_id: str) -> None:
        """Disable the key, then delete it. Absent is success. Tokens that it got before live on, an hour at most."""
        path = f"{self._path(account)}/keys/{key_id}"
        with suppress(errors.NotFound):
            self._call("end a key of", account, "POST", f"{path}:disable")
            self._call("end a key of", account, "DELETE", path)

    def close(self) -> None:
        """Let go of connections; the target can't be used afterwards."""
        self._session.close()  # type: ignore[no-untyped-call]
        self._signing_in.close()

    def _granted(self, account: str, credentials: service_account.Credentials) -> bool:
        name = self._named(account)
        with self._translated("verify", name):
            try:
                credentials.refresh(self._requests())  # type: ignore[no-untyped-call]
            except auth.RefreshError as error:
                if _says_invalid_grant(error):
                    return False
                problem = "Google did not answer the sign-in of the new key"
                raise errors.Unavailable("verify", name, problem, CHECK) from None
        return True

    def _insist_on_own_pair(self, account: str, credentials: service_account.Credentials) -> None:
        certificate = self._certificate(account, str(credentials.signer.key_id))
        if certificate and not crypt.verify_signature(  # type: ignore[no-untyped-call]
            PROBE, credentials.signer.sign(PROBE), certificate
        ):
            problem = "its private key is not the one that was made"
            raise errors.CandidateRejected("verify", self._named(account), problem, AGAIN)

    def _insist_on_enabled(self, account: str) -> None:
        if self._call("verify", account, "GET", self._path(account)).get("disabled"):
            problem, hint = "the service account is disabled", "Enable it, and rotate again: the same key is tried"
            raise errors.Invalid("verify", self._named(account), problem, hint)

    def _certificate(self, account: str, key_id: str) -> str | None:
        """The public half of a key as Google has it; None where Google does not know the key."""
        address = f"{self._path(account)}/keys/{key_id}?publicKeyType=TYPE_X509_PEM_FILE"
        try:
            told = self._call("verify", account, "GET", address)
        except errors.NotFound:
            return None
        return base64.b64decode(self._field(told, "publicKeyData", "verify", account)).decode()

    def _credentials(self, account: str, text: Sensitive) -> service_account.Credentials:
        """What a client signs in with. Raises CandidateRejected for what is no key file of this account."""
        name = self._named(account)
        try:
            made: service_account.Credentials = service_account.Credentials.from_service_account_info(  # type: ignore[no-untyped-call]
                json.loads(text.reveal()), scopes=[SMALL_SCOPE]
            )
        except (auth.GoogleAuthError, ValueError, TypeError, AttributeError):
            raise errors.CandidateRejected("verify", name, "it is no key file of a service account", AGAIN) from None
        if made.service_account_email != account:
            raise errors.CandidateRejected("verify", name, "the new key is another account's", AGAIN)
        return made

    def _requests(self) -> Any:
        return functools.partial(transport.Request(self._signing_in), timeout=DEADLINE)

    def _call(
        self, doing: str, account: str, method: str, address: str, params: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        name = self._named(account)
        with self._translated(doing, name):
            answer: requests.Response = self._session.request(  # type: ignore[no-untyped-call]
                method, address, params=params, timeout=DEADLINE
            )
            if not answer.ok:
                raise refused(answer, doing, name)
            try:
                found = answer.json()
            except requests.exceptions.JSONDecodeError:
                found = None
        if not isinstance(found, dict):
            raise errors.Unavailable(doing, name, "the answer is not Google's", CHECK)
        return found

    def _field(self, found: Mapping[str, Any], name: str, doing: str, account: str) -> Any:
        if name not in found:
            raise errors.Unavailable(doing, self._named(account), f"the answer lacks {name}", CHECK)
        return found[name]

    def _path(self, account: str) -> str:
        return f"{self._iam}/v1/{self._project}/serviceAccounts/{account}"

    def _named(self, account: str) -> str:
        return f"{self.name}:{account}"

    @contextmanager
    def _translated(self, doing: str, name: str) -> Iterator[None]:
        try:
            yield
        except (auth.GoogleAuthError, requests.RequestException, binascii.Error) as error:
            raise from_google(error, doing, name) from None


def refused(answer: requests.Response, doing: str, name: str) -> errors.KeyturnError:
    """Our error for a refusal of Google's: its status, and nothing of its text. Source: AIP-193."""
    status = answer.status_code
    problem = f"Google answered {status}"
    if status in (401, 403):
        return errors.Denied(doing, name, problem, GRANT)
    if status == 404:
        return errors.NotFound(doing, name, problem, NO_ACCOUNT)
    if status == 409:
        return errors.Locked(doing, name, problem, "Somebody else changes it: run again")
    if status == 429:
        after = answer.headers.get("Retry-After", "")
        return errors.Throttled(doing, name, problem, "", float(after) if after.isdigit() else None)
    if status >= 500:
        return errors.Unavailable(doing, name, problem)
    return errors.Invalid(doing, name, problem, "Check the project and the account")


def from_google(error: Exception, doing: str, name: str) -> errors.KeyturnError:
    """Our error for one of the SDK's: its kind, and nothing of its text."""
    kind = type(error).__name__
    lasting = isinstance(error, auth.GoogleAuthError) and not error.retryable
    if lasting and not isinstance(error, auth.TransportError):
        return errors.Denied(doing, name, f"no usable Google credentials ({kind})", SIGN_IN)
    return errors.Unavailable(doing, name, f"Google did not answer ({kind})", CHECK)


def _own_credentials(endpoint: str | None) -> Any:
    if endpoint is not None:
        return AnonymousCredentials()  # type: ignore[no-untyped-call]
    return google.auth.default(scopes=[SCOPE])[0]


def _is_loopback(endpoint: str) -> bool:
    host, _, port = endpoint.rpartition(":")
    try:
        local = ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        local = host == "localhost"
    return local and port.isdigit()


def _listed(key: Mapping[str, Any]) -> CloudKey:
    created = datetime.fromisoformat(key["validAfterTime"])
    return CloudKey(key["name"].rpartition("/")[2], created, not key.get("disabled", False))


def _says_invalid_grant(error: auth.RefreshError) -> bool:
    told = error.args[1] if len(error.args) > 1 else None
    return isinstance(told, dict) and told.get("error") == "invalid_grant"


def _latest(points: Sequence[Mapping[str, Any]], since: datetime) -> KeyUse | None:
    """The newest of the points that lie after ``since`` as a whole: one that began before may tell of older uses."""
    found = []
    for point in points:
        begin, end = (datetime.fromisoformat(point["interval"][f"{name}Time"]) for name in ("start", "end"))
        if begin >= since and (count := int(point["value"]["int64Value"])) > 0:
            found.append((end, count))
    if not found:
        return None
    return KeyUse(max(found)[0], f"{sum(count for _, count in found)} sign-ins since {since:%Y-%m-%d %H:%M}")
