"""Sessions of IAM users, as STS gives them for an access key; moto's are the same for everybody and sign nothing.

They act as the user until they expire, whatever becomes of the key meanwhile. Without a second factor, which nobody
has here, they reach neither IAM nor STS, but for AssumeRole and GetCallerIdentity ("GetSessionToken" in the STS API
reference). Nothing outlives the process.
"""

import secrets
import string
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from botocore.credentials import Credentials
from moto.core.responses import ActionResult
from moto.core.utils import utcnow
from moto.iam import access_control
from moto.iam.models import iam_backends
from moto.sts.exceptions import STSValidationError
from moto.sts.models import STSBackend
from moto.sts.responses import TokenResponse

OPEN_TO_SESSIONS: Final = ("sts:AssumeRole", "sts:GetCallerIdentity")
CLOSED_TO_SESSIONS: Final = ("iam:", "sts:")
SHORTEST, LONGEST, USUAL = 900, 129_600, 43_200
"""Seconds that a session may last."""


@dataclass(frozen=True)
class Session:
    """What STS has given out: who it acts as, and from when until when."""

    user: str
    issued: datetime
    ends: datetime
    key_id: str = field(default_factory=lambda: "ASIA" + _text(string.ascii_uppercase + "234567", 16))
    secret: str = field(default_factory=lambda: secrets.token_urlsafe(30), repr=False)
    token: str = field(default_factory=lambda: secrets.token_urlsafe(90), repr=False)


_SESSIONS: Final[dict[str, Session]] = {}


class SessionKey(access_control.IAMUserAccessKey):
    """Who signs with a session's key: the user, with the user's own policies. ``issued`` is when it began."""

    def __init__(self, account_id: str, partition: str, session: Session) -> None:
        self.account_id = account_id
        self.partition = partition
        self.issued = session.issued
        self._owner_user_name = session.user
        self._session = session

    def create_credentials(self) -> Credentials:
        """What the request is signed with."""
        return Credentials(self._session.key_id, self._session.secret, self._session.token)


def install() -> None:
    """Let STS give sessions out, and every service take them; call it before the first request."""
    access_control.create_access_key = _identity
    access_control.IAMRequestBase.check_action_permitted = _check  # type: ignore[method-assign, assignment]
    STSBackend.get_caller_identity = _whose  # type: ignore[method-assign, assignment]
    TokenResponse.get_session_token = _give  # type: ignore[method-assign, assignment]


_identity_as_moto_has_it: Final = access_control.create_access_key
_check_as_moto_does: Final = access_control.IAMRequestBase.check_action_permitted
_whose_as_moto_says: Final = STSBackend.get_caller_identity


def _give(request: TokenResponse) -> ActionResult:
    """GetSessionToken, for whoever signs with an access key."""
    seconds = request._get_int_param("DurationSeconds", USUAL)
    if not SHORTEST <= seconds <= LONGEST:
        raise STSValidationError(f"Value '{seconds}' at 'durationSeconds' is not within {SHORTEST} and {LONGEST}")
    users, now = iam_backends[request.current_account][request.partition], utcnow()
    user = users.get_user_from_access_key_id(request.get_access_key())
    session = Session(user.name if user else "", now, now + timedelta(seconds=seconds))
    _SESSIONS[session.key_id] = session
    credentials = {"AccessKeyId": session.key_id, "SecretAccessKey": session.secret, "SessionToken": session.token}
    return ActionResult({"Credentials": {**credentials, "Expiration": session.ends}})


def _identity(account_id: str, partition: str, access_key_id: str, headers: Mapping[str, str]) -> Any:
    session = _SESSIONS.get(access_key_id)
    if session is None:
        return _identity_as_moto_has_it(account_id, partition, access_key_id, dict(headers))
    users = {user.name for user in iam_backends[account_id][partition].list_users("/", None, None)}
    if headers.get("X-Amz-Security-Token") != session.token or utcnow() >= session.ends or session.user not in users:
        raise access_control.CreateAccessKeyFailure(reason="InvalidToken")
    return SessionKey(account_id, partition, session)


def _check(request: access_control.IAMRequestBase, resource: str) -> None:
    by_session, action = isinstance(request._access_key, SessionKey), request._action
    if by_session and action not in OPEN_TO_SESSIONS and action.startswith(CLOSED_TO_SESSIONS):
        request._raise_access_denied()
    # Every user may ask for a session: no policy is needed for it.
    if by_session or action != "sts:GetSessionToken":
        _check_as_moto_does(request, resource)


def _whose(backend: STSBackend, access_key_id: str, region: str) -> tuple[str, str, str]:
    if session := _SESSIONS.get(access_key_id):
        user = iam_backends[backend.account_id][backend.partition].get_user(session.user)
        return user.id, user.arn, user.account_id
    return _whose_as_moto_says(backend, access_key_id, region)


def _text(letters: str, length: int) -> str:
    return "".join(secrets.choice(letters) for _ in range(length))
