"""The wire format of the AWS Secrets Manager Agent: requests, answers and refusals.

Source: aws/aws-secretsmanager-agent, ``server.rs``, ``parse.rs``, ``cache_manager.rs`` and ``output.rs`` of version 2.
"""

import json
import re
import uuid
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qsl, unquote

from keyturn.agent.http import JSON, HttpAnswer
from keyturn.client.secrets import Secret
from keyturn.core.errors import Denied, Invalid, KeyturnError, NotFound, Throttled, TransientError

GET: Final = "/secretsmanager/get"
PREFIX: Final = "/v1/"
PING: Final = "/ping"
TOKEN_HEADERS: Final = ("x-aws-parameters-secrets-token", "x-vault-token")
FORWARDED: Final = "x-forwarded-for"
CURRENT: Final = "AWSCURRENT"
PARAMETERS: Final = frozenset({"versionId", "versionStage", "refreshNow"})
MOST_PARAMETERS: Final = 16
TRUTH: Final = {"true": True, "1": True, "false": False, "0": False}

LONGEST_NAME: Final = 512
"""Characters, as AWS allows in a secret's name."""
_REFUSED: Final = re.compile(r"[?#%\\*]|//|(?:^|/)\.{1,2}(?:/|$)|^/|/$|^\s|\s$")
"""Text that a source could read as a different path."""

VERSIONS: Final = uuid.UUID("0c4f8f64-6a0e-5f3f-8d7a-3f7a3c1d9b52")


class Refused(Exception):
    def __init__(self, answer: HttpAnswer) -> None:
        super().__init__(answer.status)
        self.answer = answer


BAD_TOKEN: Final = HttpAnswer(HTTPStatus.FORBIDDEN, "Bad Token")
NO_SUCH_PLACE: Final = HttpAnswer(HTTPStatus.NOT_FOUND, "Not found")
NOT_ALLOWED: Final = HttpAnswer(HTTPStatus.METHOD_NOT_ALLOWED, "Not allowed")
VIA_OTHERS: Final = HttpAnswer(HTTPStatus.BAD_REQUEST, "Forwarded")
OTHER_HOST: Final = HttpAnswer(HTTPStatus.MISDIRECTED_REQUEST, "Another host")
HEALTHY: Final = HttpAnswer(HTTPStatus.OK, "healthy")
TOO_SLOW: Final = HttpAnswer(HTTPStatus.GATEWAY_TIMEOUT, '{"__type":"TimeoutError", "message":"Timeout"}', JSON)
FAILED: Final = HttpAnswer(HTTPStatus.INTERNAL_SERVER_ERROR, '{"__type":"InternalFailure"}', JSON)


@dataclass(frozen=True)
class Wanted:
    secret_id: str
    version_id: str = ""
    stage: str = ""
    refresh: bool = False


def wanted_by(path: str, query: str) -> Wanted | None:
    """The secret that a GET requests; None for other addresses. Raises Refused."""
    if path == GET:
        parameters = _parameters(query, PARAMETERS | {"secretId"})
        if not (name := parameters.pop("secretId", "")):
            raise _malformed("missing parameter secretId")
    elif path.startswith(PREFIX):
        parameters = _parameters(query, PARAMETERS)
        if not (name := _decoded(path.removeprefix(PREFIX))):
            raise _malformed("missing secret ID")
    else:
        return None
    refresh = TRUTH.get(parameters.get("refreshNow", "false").lower())
    if refresh is None:
        raise _malformed("invalid refreshNow value")
    return Wanted(name, parameters.get("versionId", ""), parameters.get("versionStage", ""), refresh)


def insist_on_path(path: str) -> None:
    """Raise Invalid if sources could read the path differently; the error does not quote it."""
    if len(path) > LONGEST_NAME or not path.isprintable() or _REFUSED.search(path):
        raise Invalid("read", "a secret", "its name is none", "Write the secret's path, or its name in AWS")


def answer_of(secret: Secret, name: str, arn: str, text: str) -> HttpAnswer:
    """A secret as in GetSecretValue; the date is text, in seconds since 1970."""
    made_at = secret.made_at
    document = {
        "ARN": arn,
        "Name": name,
        "VersionId": version_id_of(secret),
        "SecretString": text,
        "VersionStages": [CURRENT],
        "CreatedDate": f"{made_at.timestamp():.3f}" if made_at else None,
    }
    return HttpAnswer(HTTPStatus.OK, json.dumps(document, ensure_ascii=False), JSON)


def version_id_of(secret: Secret) -> str:
    try:
        return str(uuid.UUID(secret.revision))
    except ValueError:
        made_at = secret.made_at.isoformat() if secret.made_at else ""
        return str(uuid.uuid5(VERSIONS, "\n".join((secret.path, secret.revision, made_at))))


def insist_on_version(wanted: Wanted, secret: Secret) -> None:
    """Raise Refused if another version than the served one is requested."""
    if wanted.stage not in ("", CURRENT):
        raise Refused(_absent(f" value for staging label: {wanted.stage}"))
    if wanted.version_id and wanted.version_id != version_id_of(secret):
        raise Refused(_absent(f" value for VersionId: {wanted.version_id}"))


def refusal_of(error: KeyturnError) -> HttpAnswer:
    """An error with AWS's text and status, without its own text."""
    match error:
        case NotFound():
            return _absent(".")
        case Denied():
            return _failure("AccessDeniedException", "The caller may not read this secret.")
        case Throttled():
            return _failure("ThrottlingException", "Rate exceeded")
        case TransientError():
            return _failure("ConnectionError", "Read Error", HTTPStatus.BAD_GATEWAY)
        case Invalid():
            return _failure("ValidationException", "Invalid name.")
        case _:
            return FAILED


def _absent(which: str) -> HttpAnswer:
    return _failure("ResourceNotFoundException", f"Secrets Manager can't find the specified secret{which}")


def _failure(kind: str, message: str, status: int = HTTPStatus.BAD_REQUEST) -> HttpAnswer:
    return HttpAnswer(status, json.dumps({"__type": kind, "message": message}), JSON)


def _malformed(problem: str) -> Refused:
    return Refused(HttpAnswer(HTTPStatus.BAD_REQUEST, problem))


def _parameters(query: str, allowed: frozenset[str]) -> dict[str, Any]:
    try:
        pairs = parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=MOST_PARAMETERS)
    except ValueError:
        raise _malformed("malformed parameters") from None
    for name, _ in pairs:
        if name not in allowed:
            raise _malformed("unknown parameter")
    return dict(pairs)


def _decoded(text: str) -> str:
    try:
        return unquote(text, errors="strict")
    except ValueError:
        raise _malformed("malformed secret ID") from None
