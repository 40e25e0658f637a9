"""AWS IAM: this process signs a request to STS, and the hub sends it. No key leaves this process.

Source: "AWS auth method" of Vault, "GetCallerIdentity" of AWS STS.
"""

import base64
import json
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import hvac

from keyturn.providers.extras import needing
from keyturn.providers.vault.logins.exchange import LoginMethod, Refusal, TokenLife, denied, exchange
from keyturn.settings.hub_login import HEADER_VALUE, REGION, ROLE, AwsLogin

if TYPE_CHECKING:
    from botocore.credentials import Credentials, ReadOnlyCredentials

GLOBAL_REGION: Final = "us-east-1"
BODY: Final = "Action=GetCallerIdentity&Version=2011-06-15"
SERVER_ID: Final = "X-Vault-AWS-IAM-Server-ID"


class AwsMethod(LoginMethod):
    def __init__(self, login: AwsLogin) -> None:
        self._login = login

    def log_in(self, client: hvac.Client) -> TokenLife:
        login = self._login
        credentials = self._credentials()
        signed = signed_request(credentials, login.region, login.header_value)
        try:
            return exchange(client, login.mount, {"role": login.role, **signed})
        except Refusal:
            problem = f"the role {login.role} at auth/{login.mount} refuses this process's AWS identity"
            hint = f"Check {ROLE}, its bound_iam_principal_arn, and that {HEADER_VALUE} and {REGION} are those of the "
            hint += "method's config (iam_server_id_header_value, sts_region). Who asks: `aws sts get-caller-identity`"
            raise denied(problem, hint) from None

    def _credentials(self) -> "ReadOnlyCredentials":
        from botocore.exceptions import BotoCoreError

        hint = "Give this process a role: of its instance, task or service account (AWS_WEB_IDENTITY_TOKEN_FILE), "
        hint += "or an AWS_PROFILE"
        try:
            if self._source is not None:
                return self._source.get_frozen_credentials()
        except BotoCoreError as error:
            raise denied(f"no AWS credentials can be had ({type(error).__name__})", hint) from None
        raise denied("no AWS credentials are given", hint)

    @cached_property
    def _source(self) -> "Credentials | None":
        with needing("aws", "log in to", "the hub"):
            from botocore.session import Session
        return Session().get_credentials()


def signed_request(
    credentials: "ReadOnlyCredentials", region: str | None = None, server_id: str | None = None
) -> dict[str, str]:
    """In the hub's format, valid for 15 minutes."""
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest

    url = sts_url(region)
    headers = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8", "Host": url.split("/")[2]}
    request = AWSRequest("POST", url, {**headers, **({SERVER_ID: server_id} if server_id else {})}, BODY)
    SigV4Auth(credentials, "sts", region or GLOBAL_REGION).add_auth(request)
    sent: dict[str, Any] = {name: [value] for name, value in request.headers.items()}
    return {
        "iam_http_request_method": "POST",
        "iam_request_url": _encoded(url),
        "iam_request_body": _encoded(BODY),
        "iam_request_headers": _encoded(json.dumps(sent)),
    }


def sts_url(region: str | None) -> str:
    """Source: "AWS service endpoints"."""
    if region is None:
        return "https://sts.amazonaws.com/"
    return f"https://sts.{region}.amazonaws.com{'.cn' if region.startswith('cn-') else ''}/"


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
