"""The first access key: made once, kept in a file that every AWS SDK reads, and known to the server."""

import secrets
import string
from configparser import ConfigParser
from io import StringIO
from pathlib import Path
from typing import Final

from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.iam.models import iam_backends

from deployments.local.support.files import write_private

USER: Final = "bootstrap"
ALLOW_ALL: Final = '{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}'


def admit(path: Path) -> None:
    """Let the key in this shared-credentials file do everything; a file that is absent is made first."""
    if not path.exists():
        write_private(path, _fresh())
    parser = ConfigParser(interpolation=None)
    parser.read(path)
    _register(parser["default"]["aws_access_key_id"], parser["default"]["aws_secret_access_key"])


def _fresh() -> str:
    parser = ConfigParser(interpolation=None)
    parser["default"] = {
        "aws_access_key_id": "AKIA" + "".join(secrets.choice(string.ascii_uppercase + "234567") for _ in range(16)),
        "aws_secret_access_key": secrets.token_urlsafe(30),
    }
    text = StringIO()
    parser.write(text)
    return text.getvalue()


def _register(key_id: str, secret: str) -> None:
    iam = iam_backends[DEFAULT_ACCOUNT_ID]["aws"]
    iam.create_user("us-east-1", USER)
    iam.put_user_policy(USER, "allow-all", ALLOW_ALL)
    key = iam.create_access_key(USER)
    del iam.access_keys[key.access_key_id]
    key.access_key_id, key.secret_access_key = key_id, secret
    iam.access_keys[key_id] = key
