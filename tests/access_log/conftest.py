"""One hub for all tests of access logs."""

from collections.abc import Iterator

import hvac
import pytest

from local.openbao import OpenBao
from local.support.ports import free_port
from tests.access_log.hub import READER, Hub


@pytest.fixture(scope="package")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    with OpenBao(tmp_path_factory.mktemp("bao"), free_port(), dev=True) as server:
        root = hvac.Client(url=server.address, token=server.root_token)
        root.sys.create_or_update_policy("reader", READER)
        for method in ("approle", "userpass"):
            root.sys.enable_auth_method(method)
        root.auth.approle.create_or_update_approle("trainer", token_policies=["reader"])
        root.auth.userpass.create_or_update_user("ana", "a passphrase", ["reader"])
        for value in ("first", "second"):
            root.secrets.kv.v2.create_or_update_secret("ml/database", {"password": value})
        yield Hub(server, root)
