"""Keys of service accounts in Google Cloud IAM, as :class:`keyturn.core.ports.cloud_keys.CloudKeys`.

IAM's reads are eventually consistent, and a new key works after some seconds. Source: "REST Resource:
projects.serviceAccounts.keys", and "Monitor usage patterns for service accounts and keys".
"""

import base64
import binascii
import functools
import json
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any, Final

import requests
from google.auth import crypt
from google.auth import exceptions as auth
from google.auth.transport import requests as transport
from google.oauth2 import service_account

from keyturn.core import errors
from keyturn.core.ports.cloud_keys import CREDENTIALS_JSON, NEVER, CloudKey, KeyUse
from keyturn.core.ports.strategies import EXPIRES_AT
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.providers.answers import reads_answers
from keyturn.providers.gcp.iam_errors import CHECK, authorized_session, document_of, from_google, translate_refusal

IAM: Final = "https://iam.googleapis.com"
MONITORING: Final = "https://monitoring.googleapis.com"
RESOURCE_MANAGER: Final = "https://cloudresourcemanager.googleapis.com"
METRIC: Final = "iam.googleapis.com/service_account/key/authn_events_count"
SCOPE: Final = "https://www.googleapis.com/auth/cloud-platform"
SMALL_SCOPE: Final = "https://www.googleapis.com/auth/userinfo.email"
DEADLINE: Final = 10.0
"""Seconds to connect, and for the whole answer. The flows retry."""
PROBE: Final = b"keyturn"
KEY_ID: Final = re.compile(r"\w+")
AGAIN: Final = "Run the rotation again: it makes another key"
NO_KEY: Final = "An account has ten keys at most, and an organization policy may forbid to make any"

# At DEBUG it logs complete requests and answers, including private keys.
logging.getLogger(transport.__name__).addFilter(lambda record: record.levelno > logging.DEBUG)


@reads_answers()
class GcpIam:
    def __init__(self, name: str, *, project: str, endpoint: str | None = None) -> None:
        """Raises Denied without credentials, and Invalid unless ``endpoint`` is a loopback host:port."""
        self.name = name
        self._project = f"projects/{project}"
        services = (IAM, MONITORING, RESOURCE_MANAGER)
        self._iam, self._monitoring, self._projects = services if endpoint is None else (f"http://{endpoint}",) * 3
        self._session, self._signing_in = authorized_session(name, SCOPE, endpoint)

    def keys(self, account: str) -> Sequence[CloudKey]:
        doing = "list the keys of"
        listed = self._call(doing, account, "GET", f"{self._path(account)}/keys?keyTypes=USER_MANAGED")
        # Without keys, Google returns an empty object.
        return [_listed(key) for key in (self._field(listed, "keys", doing, account) if listed else ())]

    def create(self, account: str) -> SecretFields:
        """A new key file, with its expiry if it has one. Raises Invalid if the account can have no more keys."""
        doing = "make a key for"
        try:
            made = self._call(doing, account, "POST", f"{self._path(account)}/keys")
        except errors.Invalid as error:
            raise errors.Invalid(doing, self._named(account), error.problem, NO_KEY) from None
        text = base64.b64decode(self._field(made, "privateKeyData", doing, account)).decode()
        end = made.get("validBeforeTime", NEVER)
        return SecretFields({CREDENTIALS_JSON: text} | ({} if end == NEVER else {EXPIRES_AT: end}))

    def signs_in(self, account: str, key: SecretFields) -> bool:
        """Raises CandidateRejected if the private key is not the named key's: Google tries every key of the account.

        Raises Invalid if the account is disabled.
        """
        credentials = self._credentials(account, key[CREDENTIALS_JSON])
        granted = self._granted("verify", account, credentials)
        if not self._is_own_pair("verify", account, credentials):
            problem = "its private key is not the one that was made"
            raise errors.CandidateRejected("verify", self._named(account), problem, AGAIN)
        if not granted and self._disabled("verify", account):
            problem, hint = "the service account is disabled", "Enable it, and rotate again: the same key is tried"
            raise errors.Invalid("verify", self._named(account), problem, hint)
        return granted

    def accepts(self, account: str, key: SecretFields) -> bool | None:
        """Google refuses a wrong clock with the same code, so a refusal counts only with a visible cause."""
        doing, credentials = "try a key of", read_key_file(key[CREDENTIALS_JSON])
        if credentials is None:
            return None
        if self._granted(doing, account, credentials):
            return True
        if credentials.service_account_email == account and self._unexplained(doing, account, credentials):
            problem = "Google lists the key as active and does not take it: it is too new, or this clock is off"
            raise errors.Unavailable(doing, self._named(account), problem, "Set this machine's clock, or try again")
        return False

    def last_use(self, account: str, key_id: str, since: datetime) -> KeyUse | None:
        """To ten minutes, reported minutes to hours late; None also without the right to read metrics."""
        query = {
            "filter": f'metric.type = "{METRIC}" AND metric.labels.key_id = "{key_id}"',
            "interval.startTime": since.astimezone(UTC).isoformat(),
            "interval.endTime": datetime.now(UTC).isoformat(),
        }
        address = f"{self._monitoring}/v3/{self._project}/timeSeries"
        try:
            answer = self._call("look up the use of a key of", account, "GET", address, params=query)
        except errors.Denied:
            return None
        points = [point for series in answer.get("timeSeries", []) for point in series.get("points", [])]
        return _latest(points, since)

    def end(self, account: str, key_id: str) -> None:
        if not KEY_ID.fullmatch(key_id):
            return
        path = f"{self._path(account)}/keys/{key_id}"
        with suppress(errors.NotFound):
            self._call("end a key of", account, "POST", f"{path}:disable")
            self._call("end a key of", account, "DELETE", path)

    def revoke(self, account: str, key_id: str, sequence: int) -> Sequence[str]:
        """Deletion "does not revoke short-lived credentials" (keys.delete)."""
        self.end(account, key_id)
        lasting = "for up to an hour, or 12 hours where the organization allows longer ones"
        return (f"access tokens that {account} has got, {lasting}: only disabling the account ends them sooner",)

    def permissions_on_project(self, permissions: Sequence[str]) -> frozenset[str]:
        """Raises Denied, Unavailable."""
        return self._permissions(self._project, f"{self._projects}/v1/{self._project}", permissions)

    def permissions_on_account(self, account: str, permissions: Sequence[str]) -> frozenset[str]:
        """Raises NotFound, Denied."""
        return self._permissions(account, self._path(account), permissions)

    def close(self) -> None:
        self._session.close()
        self._signing_in.close()

    def _granted(self, doing: str, account: str, credentials: service_account.Credentials) -> bool:
        name = self._named(account)
        with self._translated(doing, name):
            try:
                credentials.refresh(functools.partial(transport.Request(self._signing_in), timeout=DEADLINE))  # type: ignore[no-untyped-call]
            except auth.RefreshError as error:
                if _says_invalid_grant(error):
                    return False
                problem = "Google did not answer the sign-in with the key"
                raise errors.Unavailable(doing, name, problem, CHECK) from None
        return True

    def _unexplained(self, doing: str, account: str, credentials: service_account.Credentials) -> bool:
        try:
            active = [key.key_id for key in self.keys(account) if key.active]
            disabled = self._disabled(doing, account)
        except errors.NotFound:
            return False
        listed = credentials.signer.key_id in active
        return listed and not disabled and self._is_own_pair(doing, account, credentials)

    def _is_own_pair(self, doing: str, account: str, credentials: service_account.Credentials) -> bool:
        """Whether the private key is the named key's; true if Google does not know that key."""
        certificate = self._certificate(doing, account, str(credentials.signer.key_id))
        signed = credentials.signer.sign(PROBE)
        return certificate is None or bool(crypt.verify_signature(PROBE, signed, certificate))  # type: ignore[no-untyped-call]

    def _disabled(self, doing: str, account: str) -> bool:
        return bool(self._call(doing, account, "GET", self._path(account)).get("disabled"))

    def _certificate(self, doing: str, account: str, key_id: str) -> str | None:
        if not KEY_ID.fullmatch(key_id):
            return None
        address = f"{self._path(account)}/keys/{key_id}?publicKeyType=TYPE_X509_PEM_FILE"
        try:
            key = self._call(doing, account, "GET", address)
        except errors.NotFound:
            return None
        return base64.b64decode(self._field(key, "publicKeyData", doing, account)).decode()

    def _credentials(self, account: str, text: Sensitive) -> service_account.Credentials:
        name, made = self._named(account), read_key_file(text)
        if made is None:
            raise errors.CandidateRejected("verify", name, "it is no key file of a service account", AGAIN)
        if made.service_account_email != account:
            raise errors.CandidateRejected("verify", name, "the new key is another account's", AGAIN)
        return made

    def _call(
        self,
        doing: str,
        account: str,
        method: str,
        address: str,
        params: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        name = self._named(account)
        with self._translated(doing, name):
            answer = self._session.request(method, address, params=params, json=body, timeout=DEADLINE)
            if answer.status_code >= 300:
                raise translate_refusal(answer, doing, name)
        return document_of(answer, doing, name)

    def _field(self, document: Mapping[str, Any], name: str, doing: str, account: str) -> Any:
        if name not in document:
            raise errors.Unavailable(doing, self._named(account), f"the answer lacks {name}", CHECK)
        return document[name]

    def _permissions(self, about: str, address: str, permissions: Sequence[str]) -> frozenset[str]:
        doing, body = "ask for the rights on", {"permissions": list(permissions)}
        answer = self._call(doing, about, "POST", f"{address}:testIamPermissions", body=body)
        # Without permissions, Google omits the list.
        held = answer.get("permissions", [])
        if not isinstance(held, list):
            raise errors.Unavailable(doing, self.name, "the answer is not Google's", CHECK)
        return frozenset(permission for permission in permissions if permission in held)

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


def read_key_file(text: Sensitive) -> service_account.Credentials | None:
    """None for anything but a service account's key file."""
    try:
        made: service_account.Credentials = service_account.Credentials.from_service_account_info(  # type: ignore[no-untyped-call]
            json.loads(text.reveal()), scopes=[SMALL_SCOPE]
        )
    except (auth.GoogleAuthError, ValueError, TypeError, AttributeError):
        return None
    return made


def _listed(key: Mapping[str, Any]) -> CloudKey:
    created = datetime.fromisoformat(key["validAfterTime"])
    return CloudKey(key["name"].rpartition("/")[2], created, not key.get("disabled", False))


def _says_invalid_grant(error: auth.RefreshError) -> bool:
    detail = error.args[1] if len(error.args) > 1 else None
    return isinstance(detail, dict) and detail.get("error") == "invalid_grant"


def _latest(points: Sequence[Mapping[str, Any]], since: datetime) -> KeyUse | None:
    """Omits points that began before ``since``, because they may include older uses."""
    moments = []
    for point in points:
        begin, end = (datetime.fromisoformat(point["interval"][f"{name}Time"]) for name in ("start", "end"))
        if begin >= since and (count := int(point["value"]["int64Value"])) > 0:
            moments.append((end, count))
    if not moments:
        return None
    return KeyUse(max(moments)[0], f"{sum(count for _, count in moments)} sign-ins since {since:%Y-%m-%d %H:%M}")
