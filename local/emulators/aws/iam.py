"""moto's access keys, held to what AWS documents where a client that relies on it would notice.

An inactive key signs in nowhere ("UpdateAccessKey"), a wrong secret is no use of its key ("AccessKeyLastUsed"),
and, where that is asked for, a new key is not known at once ("Changes that I make are not always immediately
visible", IAM user guide). A policy may name the user whose keys it allows to change ("Actions, resources, and
condition keys for AWS Identity and Access Management"). Unlike AWS it tells of a use at once, and to the second.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from typing import Final

from moto.core.utils import utcnow
from moto.iam.exceptions import NoSuchEntity
from moto.iam.models import AccessKey, IAMBackend, iam_backends
from moto.iam.responses import IamResponse
from werkzeug.wrappers import Response

from local.emulators.aws.credentials import USERS

PARTITION: Final = "aws"
UNKNOWN_KEY: Final = (
    "<ErrorResponse><Error><Type>Sender</Type><Code>InvalidClientTokenId</Code>"
    "<Message>The security token included in the request is invalid.</Message></Error></ErrorResponse>"
)


@dataclass(frozen=True)
class AccessKeys:
    """Stands before moto, which does not look at a key's state.

    ``settle`` is how many seconds pass until a user's new key is known; the very first key is known at once.
    """

    settle: float = 0

    def answer(self, authorization: str, ask: Callable[[], Response]) -> Response:
        """What moto answers, or the refusal of a key that is inactive or not known yet."""
        key = signing_key(authorization)
        if key is None:
            return ask()
        if key.status != "Active" or not self._settled(key):
            return Response(UNKNOWN_KEY, HTTPStatus.FORBIDDEN, content_type="text/xml")
        used, answer = key.last_used, ask()
        if answer.status_code == HTTPStatus.FORBIDDEN and b"SignatureDoesNotMatch" in answer.data:
            key.last_used = used
        return answer

    def _settled(self, key: AccessKey) -> bool:
        return key.user_name in (None, *USERS) or utcnow() - key.create_date >= timedelta(seconds=self.settle)


def signing_key(authorization: str) -> AccessKey | None:
    """The key that a request names, in whichever account; None where nobody has it."""
    match = re.search(r"Credential=([^/,]+)/", authorization)
    return _key(match.group(1)) if match else None


def install() -> None:
    """Let policies tell users apart, in every account; call it before the first request."""
    IamResponse._determine_resource = _resource  # type: ignore[method-assign, assignment]


_as_moto_says: Final = IamResponse._determine_resource


def _resource(request: IamResponse) -> str:
    """The ARN of the user whom a request names, or whose key it names; of anything else what moto says."""
    if source := request._get_param("PolicySourceArn"):
        return str(source)
    key = _key(request._get_param("AccessKeyId") or "")
    name = request._get_param("UserName") or (key.user_name if key else None)
    if not name:
        return _as_moto_says(request)
    try:
        return request.backend.get_user(name).arn
    except NoSuchEntity:
        return f"arn:{PARTITION}:iam::{request.current_account}:user/{name}"


def _key(key_id: str) -> AccessKey | None:
    return next((backend.access_keys[key_id] for backend in _backends() if key_id in backend.access_keys), None)


def _backends() -> list[IAMBackend]:
    return [account[PARTITION] for account in iam_backends.values()]
