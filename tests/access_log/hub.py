"""A hub with an audit file, and who reads from it."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import hvac

from keyturn.access_log.hub_log import HubAuditLog
from keyturn.core.ports.access import Access
from local.openbao import OpenBao

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
LONG_AHEAD = datetime(2100, 1, 1, tzinfo=UTC)
READER = 'path "secret/data/ml/*" { capabilities = ["read"] }'


@dataclass
class Hub:
    """A hub with an audit file, and logins of several kinds to it."""

    server: OpenBao
    root: hvac.Client

    def client(self, token: str) -> hvac.Client:
        return hvac.Client(url=self.server.address, token=token)

    def approle(self, role: str) -> hvac.Client:
        ways = self.root.auth.approle
        secret_id = ways.generate_secret_id(role)["data"]["secret_id"]
        role_id = ways.read_role_id(role)["data"]["role_id"]
        return self.client(ways.login(role_id, secret_id, use_token=False)["auth"]["client_token"])

    def userpass(self, name: str) -> hvac.Client:
        told = hvac.Client(url=self.server.address).auth.userpass.login(name, "a passphrase")
        return self.client(told["auth"]["client_token"])

    def during(
        self, work: Callable[[], object], mount: str = "secret", namespace: str = "", *, logins: bool = False
    ) -> list[Access]:
        """What the log tells of what ``work`` did."""
        known = len(self.told(mount, namespace, logins=logins))
        work()
        return self.told(mount, namespace, logins=logins)[known:]

    def told(self, mount: str = "secret", namespace: str = "", *, logins: bool = False) -> list[Access]:
        log = HubAuditLog(self.server.audit_log, mount, namespace, logins=logins)
        return list(log.accesses(LONG_AGO, LONG_AHEAD))


def read(client: hvac.Client, path: str = "ml/database", version: int | None = None) -> Any:
    return client.secrets.kv.v2.read_secret_version(path, version, raise_on_deleted_version=True)
