"""The first access keys: made once, kept in files that every AWS SDK reads, and known to the server."""

import json
import secrets
import string
from collections.abc import Iterable
from configparser import ConfigParser
from io import StringIO
from pathlib import Path
from typing import Final

from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.iam.models import iam_backends

from local.support.files import write_private

ADMIN: Final = "bootstrap"
READER: Final = "reader"
USERS: Final = {ADMIN: ["*"], READER: ["secretsmanager:GetSecretValue", "secretsmanager:DescribeSecret"]}
"""What each of them may do."""


def admit(path: Path, reader: Path | None = None, logins: Iterable[Path] = ()) -> None:
    """Let the key in this shared-credentials file do everything, and that in ``reader`` read secrets and no more.

    Each of ``logins`` is the key of a user with the file's name, who may do everything until its policies are replaced.
    A file that is absent is made first.
    """
    _admit(path, ADMIN)
    for login in logins:
        USERS[login.name] = ["*"]
        _admit(login, login.name)
    if reader is not None:
        _admit(reader, READER)


def _admit(path: Path, user: str) -> None:
    if not path.exists():
        write_private(path, _fresh())
    parser = ConfigParser(interpolation=None)
    parser.read(path)
    _register(user, parser["default"]["aws_access_key_id"], parser["default"]["aws_secret_access_key"])


def _fresh() -> str:
    parser = ConfigParser(interpolation=None)
    parser["default"] = {
        "aws_access_key_id": "AKIA" + "".join(secrets.choice(string.ascii_uppercase + "234567") for _ in range(16)),
        "aws_secret_access_key": secrets.token_urlsafe(30),
    }
    text = StringIO()
    parser.write(text)
    return text.getvalue()


def _register(user: str, key_id: str, secret: str) -> None:
    iam = iam_backends[DEFAULT_ACCOUNT_ID]["aws"]
    allowed = {"Effect": "Allow", "Action": USERS[user], "Resource": "*"}
    iam.create_user("us-east-1", user)
    iam.put_user_policy(user, user, json.dumps({"Version": "2012-10-17", "Statement": allowed}))
    key = iam.create_access_key(user)
    del iam.access_keys[key.access_key_id]
    key.access_key_id, key.secret_access_key = key_id, secret
    iam.access_keys[key_id] = key
