"""Service accounts: made, shown, disabled and enabled. Source: "REST Resource: projects.serviceAccounts"."""

import re
import secrets
import time
from dataclasses import replace
from typing import Any, Final

from local.emulators.gcp_iam import certificates
from local.emulators.gcp_iam.messages import Refusal, Request, invalid, not_found
from local.emulators.gcp_iam.state import Account, Key, State

ACCOUNT_ID: Final = r"[a-z]([-a-z0-9]*[a-z0-9])"
ANY_PROJECT: Final = "-"


def find(state: State, project: str, name: str) -> Account:
    """The account of this name in this project. Raises a refusal where it is not there."""
    account = state.account(name)
    if account and project in (ANY_PROJECT, account.project):
        return account
    if project == ANY_PROJECT:
        raise Refusal(403, "PERMISSION_DENIED", "Permission denied on resource (or it may not exist).")
    raise not_found("Unknown service account")


def create(state: State, request: Request, project: str) -> dict[str, Any]:
    """projects.serviceAccounts.create."""
    wanted = request.document().get("accountId", "")
    if not isinstance(wanted, str) or not 6 <= len(wanted) <= 30 or not re.fullmatch(ACCOUNT_ID, wanted):
        raise invalid("Invalid account id: 6 to 30 lower-case letters, digits and hyphens.")
    return shown(added(state, f"{wanted}@{project}.iam.gserviceaccount.com"))


def added(state: State, email: str) -> Account:
    """A new account of this address. Raises a refusal where there is one."""
    if state.account(email):
        raise Refusal(409, "ALREADY_EXISTS", "The service account exists already.")
    project = email.partition("@")[2].partition(".")[0]
    account = Account(email, project, "1" + "".join(secrets.choice("0123456789") for _ in range(20)))
    state.put_account(account)
    state.put_key(_googles_own(account))
    return account


def get(account: Account) -> dict[str, Any]:
    """projects.serviceAccounts.get."""
    return shown(account)


def switch(state: State, account: Account, *, disabled: bool) -> dict[str, Any]:
    """projects.serviceAccounts.disable and enable."""
    state.put_account(replace(account, disabled=disabled))
    return {}


def shown(account: Account) -> dict[str, Any]:
    """As the API tells of it; what is false is left out."""
    answer = {
        "name": f"projects/{account.project}/serviceAccounts/{account.email}",
        "projectId": account.project,
        "uniqueId": account.unique_id,
        "email": account.email,
        "oauth2ClientId": account.unique_id,
    }
    return answer | ({"disabled": True} if account.disabled else {})


def _googles_own(account: Account) -> Key:
    """The key that every account has, and that only Google uses."""
    _, certificate = certificates.fresh(1024, account.unique_id, None)
    names = ("KEY_ALG_RSA_2048", "GOOGLE_PROVIDED", "SYSTEM_MANAGED")
    return Key(secrets.token_hex(20), account.email, certificate, *names, created=time.time(), ends=None)
