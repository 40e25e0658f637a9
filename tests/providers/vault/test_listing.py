"""Listing a KV v2 mount with its metadata: OpenBao's own way, and the way that is left where a server lacks it."""

import secrets
import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import hvac
import pytest
import requests

from keyturn.core.errors import Denied
from keyturn.providers.vault.client import Calls
from keyturn.providers.vault.listing import PAGE, VaultListing, describe_below
from keyturn.settings.hub import HubSettings
from keyturn.settings.hub_login import TokenLogin
from local.openbao import OpenBao
from tests.support.mounts import make_kv

pytestmark = pytest.mark.sampled(9, of="file")

VARIABLE = "KEYTURN_TEST_LISTING_TOKEN"
HOP = frozenset({"connection", "content-length", "host", "transfer-encoding", "accept-encoding"})
NO_SUCH_PATH = b'{"data":null,"warnings":["Invalid path for a versioned K/V secrets engine."]}'


class LikeVault:
    """A door to OpenBao behind which there is no detailed-metadata: it answers 404 to it with a warning, as Vault."""

    def __init__(self, behind: str) -> None:
        self.asked: list[str] = []
        asked, session = self.asked, requests.Session()
        session.trust_env = False
        session.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=32))

        class Door(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True
            wbufsize = -1

            def log_message(self, format: str, *args: Any) -> None:
                """Log nothing."""

            def _pass_on(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                asked.append(f"{self.command} {self.path}")
                if "/detailed-metadata" in self.path:
                    return self._answer(404, NO_SUCH_PATH)
                headers = {name: text for name, text in self.headers.items() if name.lower() not in HOP}
                told = session.request(self.command, behind + self.path, headers=headers, data=body, timeout=10)
                return self._answer(told.status_code, told.content)

            do_GET = do_POST = do_PUT = do_PATCH = do_LIST = do_DELETE = _pass_on  # noqa: N815 (the names that http.server looks for)

            def _answer(self, status: int, content: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

        self._session = session
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> "LikeVault":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._session.close()


@pytest.fixture
def raw(openbao: OpenBao) -> hvac.Client:
    return hvac.Client(url=openbao.address, token=openbao.root_token)


@pytest.fixture
def mount(raw: hvac.Client) -> Iterator[str]:
    name = f"list-{secrets.token_hex(4)}"
    make_kv(raw, name)
    yield name
    raw.sys.disable_secrets_engine(name)


@pytest.fixture
def door(openbao: OpenBao) -> Iterator[LikeVault]:
    with LikeVault(f"http://127.0.0.1:{openbao.clear_port}") as server:
        yield server


@pytest.fixture(params=["OpenBao", "like Vault"])
def calls(
    request: pytest.FixtureRequest, openbao: OpenBao, door: LikeVault, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Calls]:
    """Requests to a server that lists metadata, and to one that does not."""
    monkeypatch.setenv(VARIABLE, openbao.root_token)
    address = openbao.address if request.param == "OpenBao" else door.url
    with closing(Calls(HubSettings(address, login=TokenLogin(VARIABLE)))) as opened:
        yield opened


def write(raw: hvac.Client, mount: str, *paths: str) -> None:
    for path in paths:
        raw.secrets.kv.v2.create_or_update_secret(path, {"path": path}, mount_point=mount)
        raw.secrets.kv.v2.update_metadata(path, mount_point=mount, custom_metadata={"of": path})


def test_every_secret_in_every_folder_is_told_with_its_metadata(calls: Calls, raw: hvac.Client, mount: str) -> None:
    paths = ["a", "a/b", "a/b/c", "a-b", "z/y/x/w", "z"]
    write(raw, mount, *paths)
    raw.secrets.kv.v2.create_or_update_secret("z", {}, mount_point=mount)
    found = dict(describe_below(calls, mount))
    assert sorted(found) == sorted(paths)
    assert {path: told["custom_metadata"]["of"] for path, told in found.items()} == {path: path for path in paths}
    assert found == {path: raw.secrets.kv.v2.read_secret_metadata(path, mount_point=mount)["data"] for path in paths}
    assert found["z"]["current_version"] == 2


def test_below_a_prefix_stands_what_is_in_that_folder_alone(calls: Calls, raw: hvac.Client, mount: str) -> None:
    write(raw, mount, "a", "a/b", "a/c/d", "ab/e")
    assert {path for path, _ in describe_below(calls, mount, "a")} == {"a/b", "a/c/d"}
    assert {path for path, _ in describe_below(calls, mount, "/a/c/")} == {"a/c/d"}


def test_an_empty_mount_and_a_folder_that_is_not_there_tell_nothing(calls: Calls, mount: str) -> None:
    assert list(describe_below(calls, mount)) == []
    assert list(describe_below(calls, mount, "nothing/here")) == []


def test_more_than_a_page_is_told_once_each(calls: Calls, raw: hvac.Client, mount: str) -> None:
    names = [f"s{number:04}" for number in range(PAGE + 3)]
    for name in names:
        raw.secrets.kv.v2.update_metadata(name, mount_point=mount, custom_metadata={"of": name})
    told = [path for path, _ in describe_below(calls, mount)]
    assert sorted(told) == names


@pytest.mark.parametrize("asked", [3, 40, 400])
def test_some_secrets_are_told_alone_wherever_they_lie(calls: Calls, raw: hvac.Client, mount: str, asked: int) -> None:
    paths = [f"{folder}s{number:03}" for folder in ("", "a/", "a/b/") for number in range(50)]
    write(raw, mount, *paths)
    listing = VaultListing(calls, mount, mount)
    wanted = [*paths[::2], "s0", "s0100", "zz", "a/s0", "nothing/here"][:asked]
    known = dict(listing.of(wanted))
    assert sorted(known) == sorted(set(wanted) & set(paths))
    assert {path: told["custom_metadata"]["of"] for path, told in known.items()} == {path: path for path in known}
    assert dict(listing.of(["none", "of", "these", "is", "there"])) == {}
    assert dict(listing.of(["x/none", "x/of", "x/these", "x/is", "x/there"])) == {}
    assert dict(listing.of([])) == {}
    assert dict(listing.of(wanted)) == known


def test_neighbours_are_told_by_one_request(
    door: LikeVault, openbao: OpenBao, raw: hvac.Client, mount: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, openbao.root_token)
    paths = [f"a/s{number:03}" for number in range(60)]
    write(raw, mount, *paths)
    with closing(Calls(HubSettings(openbao.address, login=TokenLogin(VARIABLE)))) as calls:
        asked: list[str] = []
        real = calls.find

        def find(doing: str, name: str, path: str, *given: Any) -> Any:
            asked.append(path)
            return real(doing, name, path, *given)

        monkeypatch.setattr(calls, "find", find)
        assert dict(VaultListing(calls, mount, mount).of(paths[20:40])).keys() == set(paths[20:40])
        assert asked == [f"{mount}/detailed-metadata/a/"]


def test_which_way_the_server_lists_is_found_out_once(
    door: LikeVault, openbao: OpenBao, raw: hvac.Client, mount: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, openbao.root_token)
    write(raw, mount, "a", "b/c")
    with closing(Calls(HubSettings(door.url, login=TokenLogin(VARIABLE)))) as calls:
        listing = VaultListing(calls, mount, "vault:*")
        assert list(listing.below("empty")) == []
        assert sorted(path for path, _ in listing.below()) == ["a", "b/c"]
        assert sorted(path for path, _ in listing.below()) == ["a", "b/c"]
    assert len([line for line in door.asked if "/detailed-metadata" in line]) == 2


def test_a_policy_that_does_not_name_the_detailed_listing_leaves_the_other_way(
    openbao: OpenBao, raw: hvac.Client, mount: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(raw, mount, "a", "b/c")
    rule = f'path "{mount}/metadata/*" {{ capabilities = ["list", "read"] }}'
    raw.sys.create_or_update_policy(mount, rule)
    monkeypatch.setenv(VARIABLE, raw.auth.token.create(policies=[mount])["auth"]["client_token"])
    with closing(Calls(HubSettings(openbao.address, login=TokenLogin(VARIABLE)))) as calls:
        assert sorted(path for path, _ in describe_below(calls, mount)) == ["a", "b/c"]
        assert dict(VaultListing(calls, mount, mount).of(["a", "b", "c", "d", "e"])).keys() == {"a"}
        with pytest.raises(Denied, match="secret/metadata"):
            list(describe_below(calls, "secret"))
