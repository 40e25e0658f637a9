"""Which secret, parameter, key, queue or topic a request is about, its tags, and those that the request lays on it.

Source: "Actions, resources, and condition keys" of AWS Secrets Manager, Systems Manager, Amazon SQS and Amazon SNS.
"""

import json
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

from moto.iam.access_control import IAMRequestBase
from moto.secretsmanager.models import secretsmanager_backends
from moto.ssm.models import ssm_backends

ARN: Final = "keyturn:arn"
"""What the request is about, among what is known of it; IAM has no such key."""
REQUEST_TAG: Final = "aws:RequestTag"
RESOURCE_TAG: Final = "aws:ResourceTag"
FORCED: Final = "secretsmanager:ForceDeleteWithoutRecovery"
PREFIX: Final = "s3:prefix"
NEW: Final = "-AbCdEf"
"""The end of a secret's ARN before there is one."""

Tags = Mapping[str, str]


def told_by(request: IAMRequestBase) -> dict[str, str]:
    """What conditions may ask of a request about a secret, a parameter, a queue, a topic or a bucket; else nothing."""
    if request._service == "s3":
        return _bucket(request)
    if request._service in ("sqs", "sns"):
        return {ARN: (_queue if request._service == "sqs" else _topic)(request)}
    if request._service == "kms":
        return {ARN: _key(request)}
    if request._service not in ("secretsmanager", "ssm"):
        return {}
    body = json.loads(request._body or b"{}")
    arn, tags = (_secret if request._service == "secretsmanager" else _parameter)(request, body)
    laid = {tag["Key"]: tag["Value"] for tag in body.get("Tags") or ()}
    forced = {FORCED: str(body["ForceDeleteWithoutRecovery"]).lower()} if "ForceDeleteWithoutRecovery" in body else {}
    return {
        ARN: arn,
        **{f"{RESOURCE_TAG}/{name}": text for name, text in tags.items()},
        **{f"{REQUEST_TAG}/{name}": text for name, text in laid.items()},
        **forced,
    }


def is_about(statement: Mapping[str, Any], context: Mapping[str, str]) -> bool:
    """Whether a statement names what the request is about. What lists everything is about all of it."""
    if ARN not in context:
        return True
    named = statement.get("Resource", [])
    return any(fnmatchcase(context[ARN], pattern) for pattern in ([named] if isinstance(named, str) else named))


def _key(request: IAMRequestBase) -> str:
    """The key, by whatever names it; the alias that is to be made. A list of aliases is about all."""
    body = json.loads(request._body or b"{}")
    named = "*" if request._action == "kms:ListAliases" else str(body.get("AliasName") or body.get("KeyId") or "*")
    if named.startswith(("arn:", "*")):
        return named
    what = named if named.startswith("alias/") else f"key/{named}"
    return f"arn:aws:kms:{request._region}:{request.account_id}:{what}"


def _secret(request: IAMRequestBase, body: Mapping[str, Any]) -> tuple[str, Tags]:
    name = body.get("SecretId") or body.get("Name")
    if name is None:
        return "*", {}
    backend = secretsmanager_backends[request.account_id][request._region]
    secret = next((kept for kept in backend.secrets.values() if name in (kept.name, kept.arn)), None)
    if secret is None:
        return f"arn:aws:secretsmanager:{request._region}:{request.account_id}:secret:{name}{NEW}", {}
    return secret.arn, {tag["Key"]: tag["Value"] for tag in secret.tags or ()}


def _parameter(request: IAMRequestBase, body: Mapping[str, Any]) -> tuple[str, Tags]:
    text = body.get("Name") or body.get("ResourceId") or next(iter(body.get("Names") or ()), None)
    if text is None:
        return "*", {}
    name, backend = text.partition(":")[0], ssm_backends[request.account_id][request._region]
    arn = f"arn:aws:ssm:{request._region}:{request.account_id}:parameter/{name.removeprefix('/')}"
    return arn, backend.list_tags_for_resource("Parameter", name) if name in backend._parameters else {}


def _bucket(request: IAMRequestBase) -> dict[str, str]:
    """The bucket stands in the path, an object's key behind it; what lists them names the beginning of their keys."""
    bucket, _, key = urlsplit(request._path).path.strip("/").partition("/")
    prefix = parse_qs(urlsplit(request._path).query).get("prefix", [""])[0]
    return {ARN: f"arn:aws:s3:::{bucket}{f'/{unquote(key)}' if key else ''}", PREFIX: prefix}


def _queue(request: IAMRequestBase) -> str:
    """SQS takes JSON, in which a queue is named by its address; what lists them is about all."""
    body = json.loads(request._body or b"{}")
    name = body.get("QueueName") or str(body.get("QueueUrl") or "*").rpartition("/")[2]
    return f"arn:aws:sqs:{request._region}:{request.account_id}:{name}"


def _topic(request: IAMRequestBase) -> str:
    """SNS takes a form, in which a topic is named by its ARN, but for one that is made."""
    form = {name: value[0] if isinstance(value, list) else value for name, value in request._data.items()}
    return form.get("TopicArn") or f"arn:aws:sns:{request._region}:{request.account_id}:{form.get('Name', '*')}"
