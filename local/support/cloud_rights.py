"""Gives the logins of a local stack the rights in the clouds that were rendered for them, as an administrator does."""

import json
from collections.abc import Mapping
from configparser import ConfigParser
from typing import Any, Final

import boto3

from local import environment
from local.emulators.rights import grant
from local.home import Stack

CLOUD_LOGINS: Final = {"worker": environment.WORKER_ROLE, "revoker": environment.REVOKER_ROLE}
EMERGENCIES: Final = "-revoker"
"""In the name of a document, that it is for the revoker alone."""
BY_FILE: Final = ("azure", "gcp", "kubernetes")


def narrow_clouds(stack: Stack, login: str, documents: Mapping[str, str]) -> None:
    """Attach what was rendered for stores and targets to the login: in AWS by IAM, elsewhere by its rights file."""
    own = {
        name: text
        for name, text in documents.items()
        if name.startswith(("store-", "target-")) and (login == "revoker" or EMERGENCIES not in name)
    }
    name = CLOUD_LOGINS[login]
    for cloud in BY_FILE:
        grant(environment.login_file(stack, cloud, name).with_suffix(".json"), own)
    rendered = {file.removesuffix(".json"): json.loads(text) for file, text in own.items() if file.endswith(".json")}
    policies = {file: policy for file, policy in rendered.items() if "Statement" in policy}
    asking = {"Effect": "Allow", "Action": "iam:SimulatePrincipalPolicy", "Resource": f"arn:aws:iam::*:user/{name}"}
    policies["asks-for-its-rights"] = {"Version": "2012-10-17", "Statement": [asking]}
    replace_policies(stack, name, policies)


def replace_policies(stack: Stack, user: str, policies: Mapping[str, Any]) -> None:
    """Let the user have these inline policies and no others, as the administrator of the account."""
    variables = environment.aws(stack)
    parser = ConfigParser(interpolation=None)
    parser.read(variables["AWS_SHARED_CREDENTIALS_FILE"])
    key = parser["default"]
    iam = boto3.client(
        "iam",
        endpoint_url=variables["AWS_ENDPOINT_URL"],
        region_name=variables["AWS_REGION"],
        verify=variables["AWS_CA_BUNDLE"],
        aws_access_key_id=key["aws_access_key_id"],
        aws_secret_access_key=key["aws_secret_access_key"],
    )
    try:
        for name, policy in policies.items():
            iam.put_user_policy(UserName=user, PolicyName=name, PolicyDocument=json.dumps(policy))
        for name in iam.list_user_policies(UserName=user)["PolicyNames"]:
            if name not in policies:
                iam.delete_user_policy(UserName=user, PolicyName=name)
    finally:
        iam.close()
