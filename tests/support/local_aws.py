"""Leading this process, and those that it starts, to the local AWS and to no other."""

import configparser
import json
import os
import secrets
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

import boto3
import pytest

from local.emulators.aws import LocalAws

POLICIES: Final = Path(__file__).parents[2] / "deployments" / "policies"


def use(server: LocalAws, patch: pytest.MonkeyPatch) -> None:
    """Put the server's key into the environment instead of whatever the machine has."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        patch.delenv(name)
    patch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(server.credentials))
    patch.setenv("AWS_CONFIG_FILE", str(server.directory / "no-config"))
    patch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def key_of(server: LocalAws) -> dict[str, str]:
    """The key that may do everything, as the SDK's clients take it."""
    text = configparser.ConfigParser()
    text.read(server.credentials)
    return dict(text["default"])


def become(server: LocalAws, policy: Path | Sequence[str], patch: pytest.MonkeyPatch) -> None:
    """Sign in as a fresh user who may do what this policy file allows, or these policies together."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        patch.delenv(name, raising=False)
    texts = [policy.read_text()] if isinstance(policy, Path) else policy
    statements = [statement for text in texts for statement in json.loads(text)["Statement"]]
    document = {"Version": "2012-10-17", "Statement": statements}
    with closing(boto3.Session().client("iam", region_name="us-east-1", endpoint_url=server.endpoint_url)) as iam:
        name = f"user-{secrets.token_hex(4)}"
        iam.create_user(UserName=name)
        iam.put_user_policy(UserName=name, PolicyName="may", PolicyDocument=json.dumps(document))
        key = iam.create_access_key(UserName=name)["AccessKey"]
    patch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
    patch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
