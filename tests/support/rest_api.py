"""A REST API on loopback that keeps API keys and SSH keys as such services do: a real server, in a thread.

Keys: ``/accounts/NAME/keys`` (POST, GET in pages, DELETE), tried at ``/whoami``. SSH keys: ``/users/NAME/ssh`` (the
same), tried by :meth:`RestApi.logs_in`, which signs a challenge as a client does. Both ask for the admin's token.
"""

import base64
import hashlib
import json
import secrets
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_ssh_private_key, load_ssh_public_key

PAGE = 2
"""Keys on a page, so that lists have several."""


@dataclass
class Told:
    """One request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Said:
    """One answer. ``lost`` closes the connection instead of sending it."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    lost: bool = False

    def raw(self) -> bytes:
        if isinstance(self.body, bytes):
            return self.body
        return b"" if self.body is None else json.dumps(self.body).encode()


@dataclass
class RestApi:
    """Serves while it is entered. ``keys`` and ``ssh`` hold what is there, by id.

    ``instead`` are answers given in turn to requests of one method, without doing anything; ``after`` change the
    answer to what was done. ``limit`` is how many keys there may be; ``slow_keys`` how often a new key is unknown. With
    ``in_two_steps``, a key must be deactivated before it can be deleted.
    """

    admin_token: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    certificate: tuple[Path, Path] | None = None
    keys: dict[str, dict[str, Any]] = field(default_factory=dict)
    ssh: dict[str, dict[str, Any]] = field(default_factory=dict)
    told: list[Told] = field(default_factory=list)
    instead: dict[str, list[Said]] = field(default_factory=dict)
    after: dict[str, Callable[[Said], Said]] = field(default_factory=dict)
    slow_keys: int = 0
    in_two_steps: bool = False

    def __enter__(self) -> Self:
        self._lock = threading.Lock()
        self._numbers = iter(range(100, 100_000))
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads, self._server.block_on_close = True, False
        if self.certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*self.certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"http{'s' if self.certificate else ''}://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def answer(self, told: Told) -> Said:
        """What the API says to one request."""
        with self._lock:
            self.told.append(told)
            if self.instead.get(told.method):
                return self.instead[told.method].pop(0)
            said = self._answered(told)
            return self.after.get(told.method, lambda same: same)(said)

    def _answered(self, told: Told) -> Said:
        parts = [unquote(part) for part in urlsplit(told.path).path.split("/")[1:]]
        match [told.method, *parts]:
            case ["GET", "whoami"]:
                return self._whoami(told.headers.get("x-api-key", ""))
            case _ if told.headers.get("authorization") != f"Bearer {self.admin_token}":
                return Said(401, {"message": "who are you?"})
            case ["GET", "accounts", account, "keys"]:
                return self._page(told, [key for key in self.keys.values() if key["account"] == account])
            case ["POST", "accounts", account, "keys"]:
                # By SQL, a key's name is the last word of a statement.
                name = told.json.get("name") or told.json["statement"].split()[-1]
                return self._new_key(account, name, told.json.get("value"))
            case ["POST", "accounts", _, "keys", id, "deactivate"] if id in self.keys:
                done, self.keys[id]["active"] = not self.keys[id]["active"], False
                return Said(400, {"code": "INACTIVE"}) if done else Said(200, {"data": self._shown(self.keys[id])})
            case ["DELETE", "accounts", _, "keys", id] if self.in_two_steps and self.keys.get(id, {}).get("active"):
                return Said(403, {"message": "deactivate it first"})
            case ["DELETE", "accounts", _, "keys", id] if id in self.keys:
                return Said(200, {"deleted": self.keys.pop(id)["id"]})
            case ["GET", "accounts", _, "keys", id] if id in self.keys:
                return Said(200, {"data": self._shown(self.keys[id])})
            case ["GET", "users", user, "ssh"]:
                return self._page(told, [key for key in self.ssh.values() if key["user"] == user])
            case ["POST", "users", user, "ssh"]:
                return self._new_ssh_key(user, told.json)
            case ["DELETE", "users", _, "ssh", id] if id in self.ssh:
                del self.ssh[id]
                return Said(204)
            case ["GET", "users", _, "ssh", id] if id in self.ssh:
                return Said(200, self.ssh[id])
        return Said(404, {"message": "no such thing"})

    def _whoami(self, value: str) -> Said:
        found = next((key for key in self.keys.values() if secrets.compare_digest(key["value"], value)), None)
        if found is None or not found["active"] or self.slow_keys:
            self.slow_keys = max(0, self.slow_keys - 1)
            return Said(401, {"message": f"the key {value} is not known"})
        found["used"] = datetime.now(UTC).isoformat()
        return Said(200, {"account": found["account"]})

    def _new_key(self, account: str, name: str, value: str | None = None) -> Said:
        if any(key["name"] == name for key in self.keys.values()):
            return Said(409, {"message": "a key has that name"})
        made = {
            "id": next(self._numbers),
            "account": account,
            "name": name,
            "value": value or secrets.token_urlsafe(24),
        }
        self.keys[str(made["id"])] = {**made, "active": True, "used": None}
        return Said(201, {"data": {**made, "expires": "2031-05-06T07:08:09Z"}})

    def _new_ssh_key(self, user: str, asked: dict[str, str]) -> Said:
        same = asked["key"].split()[:2]
        if any(key["key"].split()[:2] == same for key in self.ssh.values()):
            return Said(422, {"message": "key is already in use"})
        digest = hashlib.sha256(base64.b64decode(same[1])).digest()
        shown = "SHA256:" + base64.b64encode(digest).decode().rstrip("=")
        made = {"id": next(self._numbers), "user": user, "key": " ".join(same), "title": asked["title"]}
        self.ssh[str(made["id"])] = {**made, "fingerprint": shown, "used": None}
        return Said(201, self.ssh[str(made["id"])])

    def _page(self, told: Told, listed: list[dict[str, Any]]) -> Said:
        """Keys without their values; a Link header, and a token in the body, lead to the next page."""
        number = int(parse_qs(urlsplit(told.path).query).get("page", ["1"])[0])
        page = [self._shown(key) for key in listed[(number - 1) * PAGE : number * PAGE]]
        if len(listed) <= number * PAGE:
            return Said(200, {"data": page, "next": None, "count": len(listed)})
        here = f"{self.url.partition('://')[0]}://{told.headers['host']}{urlsplit(told.path).path}"
        link = {"link": f'<{here}?page={number + 1}>; rel="next"'}
        return Said(200, {"data": page, "next": str(number + 1), "count": len(listed)}, link)

    @staticmethod
    def _shown(key: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in key.items() if name != "value"}

    def logs_in(self, private_key: str) -> bool:
        """Whether somebody who holds this key may log in: by a signature that one of the public keys confirms."""
        private, challenge = load_ssh_private_key(private_key.encode(), None), secrets.token_bytes(32)
        assert isinstance(private, Ed25519PrivateKey)
        return any(confirms(key["key"], private.sign(challenge), challenge) for key in list(self.ssh.values()))


def confirms(public_key: str, signature: bytes, challenge: bytes) -> bool:
    """Whether an Ed25519 key has made this signature."""
    public = load_ssh_public_key(public_key.encode())
    assert isinstance(public, Ed25519PublicKey)
    try:
        public.verify(signature, challenge)
    except InvalidSignature:
        return False
    return True


def _handler(api: RestApi) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1
        disable_nagle_algorithm = True

        def handle_one(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            said = api.answer(Told(self.command, self.path, headers, body))
            if said.lost:
                self.close_connection = True
                return
            raw = said.raw()
            self.send_response(said.status)
            for name, value in said.headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_one  # noqa: N815

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    return Handler
