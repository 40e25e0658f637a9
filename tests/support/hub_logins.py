"""What logins to the hub are tried against: methods prepared in the real hub, a cluster that is asked, AWS's part."""

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
import trustme
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from keyturn.providers.vault.hub import VaultHub
from keyturn.providers.vault.login import LoginSession
from keyturn.settings.hub import HubSettings
from keyturn.settings.hub_login import AppRoleLogin, AwsLogin, HubLogin, JwtLogin, KubernetesLogin
from local.emulators.kubernetes import Account, Emulator, Server, rules
from local.emulators.kubernetes.token_review import uid_of
from tests.support.issuers import Issuer
from tests.support.lab import Lab, fresh

POD, NEIGHBOUR, HUB = (f"system:serviceaccount:{name}" for name in ("ml:keyturn", "ml:other", "kube-system:hub"))
AUDIENCE = "openbao"
POLICY = 'path "*" { capabilities = ["create", "read", "update", "patch", "list"] }'


class Pods:
    """A cluster's API server, and tokens of its service accounts: of the ``worker``, and others that must not do."""

    def __init__(self, directory: Path) -> None:
        self._issuer = Issuer("https://kubernetes.default.svc.cluster.local")
        self.tokens = {
            "worker": self._token(POD, AUDIENCE),
            "neighbour": self._token(NEIGHBOUR, AUDIENCE),
            "for another": self._token(POD, "somebody-else"),
            "ended": self._token(POD, AUDIENCE, lives=-600),
            "hub": self._token(HUB, "https://kubernetes.default.svc.cluster.local"),
        }
        self.tokens["forged"] = Issuer("cluster").token(POD, [AUDIENCE], **_account(POD))
        users = {"worker": POD, "neighbour": NEIGHBOUR, "for another": POD, "ended": POD}
        accounts = [Account(user, self.tokens[name], rules()) for name, user in users.items()]
        accounts.append(Account(HUB, self.tokens["hub"], rules(tokenreviews=("create",))))
        authority, certificate = trustme.CA(), directory / "cluster.pem"
        authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(certificate)
        (directory / "data").mkdir()
        self.server = Server(Emulator(directory / "data", accounts), certificate, certificate)
        self.config = {
            "kubernetes_host": self.server.url,
            "kubernetes_ca_cert": authority.cert_pem.bytes().decode(),
            "token_reviewer_jwt": self.tokens["hub"],
            "disable_local_ca_jwt": True,
        }

    def _token(self, user: str, audience: str, lives: float = 600) -> str:
        return self._issuer.token(user, [audience], lives, **_account(user))


def _account(user: str) -> dict[str, Any]:
    _, _, namespace, name = user.split(":")
    return {"kubernetes.io": {"namespace": namespace, "serviceaccount": {"name": name, "uid": uid_of(user)}}}


class Doors:
    """A method each for pods, for programs with a JWT, and for AppRoles, in the lab's hub, and a login for each."""

    def __init__(self, lab: Lab, pods: Pods, directory: Path) -> None:
        self.lab, self.root, self.pods, self.directory = lab, lab.root, pods, directory
        self.kubernetes, self.jwt, self.policy, self.role = f"k8s-{fresh()}", f"jwt-{fresh()}", fresh(), fresh()
        self.issuer = Issuer("ci")
        self.token, self.role_id = directory / "jwt", directory / "role-id"
        self.secret_id, self.wrap = directory / "secret-id", directory / "wrapped-secret-id"
        self.root.sys.create_or_update_policy(self.policy, POLICY)
        self._let_pods_in()
        self._let_programs_in()
        self.root.auth.approle.create_or_update_approle(self.role, token_policies=[self.policy], token_ttl="1h")
        self.role_id.write_text(self.root.auth.approle.read_role_id(self.role)["data"]["role_id"])

    def _let_pods_in(self) -> None:
        self.root.sys.enable_auth_method("kubernetes", path=self.kubernetes)
        self.root.write_data(f"auth/{self.kubernetes}/config", data=self.pods.config)
        bound = {"bound_service_account_names": "keyturn", "bound_service_account_namespaces": "ml"}
        role = {**bound, "audience": AUDIENCE, "token_policies": self.policy}
        self.root.write_data(f"auth/{self.kubernetes}/role/worker", data=role)

    def _let_programs_in(self) -> None:
        self.root.sys.enable_auth_method("jwt", path=self.jwt)
        config = {"jwt_validation_pubkeys": self.issuer.public_key, "bound_issuer": "ci"}
        self.root.write_data(f"auth/{self.jwt}/config", data=config)
        bound = {"bound_audiences": AUDIENCE, "bound_subject": "repo:acme/app"}
        for name, ttl in (("worker", "1h"), ("brief", "2s")):
            lives = {"token_ttl": ttl, "token_max_ttl": ttl, "token_policies": self.policy}
            role = {"role_type": "jwt", "user_claim": "sub", **bound, **lives}
            self.root.write_data(f"auth/{self.jwt}/role/{name}", data=role)

    def as_pod(self, token: str = "worker", role: str = "worker", audience: str | None = AUDIENCE) -> KubernetesLogin:
        """A pod that was given one of the cluster's tokens."""
        self.token.write_text(self.pods.tokens[token])
        return KubernetesLogin(role, str(self.token), audience, self.kubernetes)

    def as_program(self, role: str = "worker", audience: str | None = AUDIENCE) -> JwtLogin:
        """A program whose platform writes a JWT into a file."""
        self.issue()
        return JwtLogin(role, str(self.token), audience, self.jwt)

    def issue(self, subject: str = "repo:acme/app", audience: str = AUDIENCE, lives: float = 600) -> None:
        """Write the next JWT."""
        self.token.write_text(self.issuer.token(subject, audience, lives))

    def as_role(self, *, keep: bool = False) -> AppRoleLogin:
        """A process that a wrapped secret id was delivered to; with ``keep`` there are others next to it."""
        self.deliver()
        return AppRoleLogin(str(self.role_id), str(self.secret_id) if keep else None, str(self.wrap))

    def deliver(self) -> str:
        """Lay a new wrapped secret id down, and return the wrap."""
        made = self.root.auth.approle.generate_secret_id(self.role, wrap_ttl="5m")
        self.wrap.write_text(made["wrap_info"]["token"])
        return str(made["wrap_info"]["token"])

    def settings(self, login: HubLogin) -> HubSettings:
        """The hub with this login."""
        return HubSettings(self.lab.world.hub_address, login=login)

    @contextmanager
    def hub(self, login: HubLogin) -> Iterator[VaultHub]:
        """Opened with this login."""
        with closing(VaultHub(self.settings(login))) as hub:
            yield hub

    def end_login(self, hub: VaultHub) -> None:
        """Let its token end, as an operator does."""
        self.root.auth.token.revoke_accessor(hub.identity().accessor)


def at_once(calls: Sequence[Callable[[], Any]]) -> list[Any]:
    """What each of these gives, begun together."""
    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result() for future in [pool.submit(call) for call in calls]]


# --- AWS ---------------------------------------------------------------------------------------------------

KEYS: Final = {"AKIDEXAMPLE": "a-secret-access-key", "AKIDFOREIGN": "another-secret-access-key"}
SERVER_ID: Final = "hub.example.com"


class AwsHub:
    """The login for AWS as Vault documents it, with STS's part: who signed the request, by the signature alone.

    OpenBao has no such method. What is checked: the signature over exactly what was sent, its date, that the header
    with this hub's name is signed, that the request asks for nothing but its own identity, of STS.
    Source: "AWS auth method" of Vault; "Create a signed AWS API request", Signature Version 4.
    """

    def __init__(self, server: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> None:
        self.address, self.token = server.url_for("").rstrip("/"), f"hvs.{secrets.token_hex(8)}"
        self.callers: list[str] = []
        self.hosts: set[str] = set()
        self.alter: Callable[[dict[str, Any]], None] = lambda body: None
        """What somebody between changes of a login."""
        server.expect_request("/v1/auth/aws/login", method="POST").respond_with_handler(self._login)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", KEYS["AKIDEXAMPLE"])
        monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
        monkeypatch.delenv("AWS_PROFILE", raising=False)

    def session(self, login: AwsLogin) -> LoginSession:
        """A login to it."""
        return LoginSession(HubSettings(self.address, login=login))

    def _login(self, request: Request) -> Response:
        body = json.loads(request.get_data())
        self.alter(body)
        caller = self._caller(body) if body["role"] == "worker" else None
        if caller is None:
            return Response(json.dumps({"errors": ["refused"]}), 400, content_type="application/json")
        self.callers.append(caller)
        auth = {"client_token": self.token, "lease_duration": 3600, "renewable": True}
        return Response(json.dumps({"auth": auth}), content_type="application/json")

    def _caller(self, body: dict[str, Any]) -> str | None:
        """The access key that signed it; None where it is not what it should be."""
        url, content = (base64.b64decode(body[f"iam_request_{part}"]).decode() for part in ("url", "body"))
        sent = json.loads(base64.b64decode(body["iam_request_headers"]))
        headers = {name.lower(): values[0] for name, values in sent.items()}
        host = urlsplit(url).hostname or ""
        asks = body["iam_http_request_method"] == "POST" and content == "Action=GetCallerIdentity&Version=2011-06-15"
        if not asks or not host.startswith("sts.") or not host.endswith(".amazonaws.com") or headers["host"] != host:
            return None
        signed, key = signed_by(headers, content)
        if headers.get("x-vault-aws-iam-server-id") != SERVER_ID or "x-vault-aws-iam-server-id" not in signed:
            return None
        self.hosts.add(host)
        return key if key == "AKIDEXAMPLE" else None


def signed_by(headers: dict[str, str], content: str) -> tuple[list[str], str | None]:
    """The headers that a POST to ``/`` was signed with, and by which access key; None where the signature is not its.

    Written from the documentation of Signature Version 4, and not with the SDK that made it.
    """
    fields = dict(part.strip().split("=", 1) for part in headers["authorization"].split(" ", 1)[1].split(","))
    key, day, region, service, _ = fields["Credential"].split("/")
    names = fields["SignedHeaders"].split(";")
    lines = "".join(f"{name}:{' '.join(headers[name].split())}\n" for name in names)
    digest = hashlib.sha256(content.encode()).hexdigest()
    canonical = f"POST\n/\n\n{lines}\n{';'.join(names)}\n{digest}"
    scope = f"{day}/{region}/{service}/aws4_request"
    at = headers["x-amz-date"]
    text = f"AWS4-HMAC-SHA256\n{at}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    signing = f"AWS4{KEYS.get(key, '')}".encode()
    for part in (day, region, service, "aws4_request"):
        signing = hmac.digest(signing, part.encode(), "sha256")
    age = datetime.now(UTC) - datetime.strptime(at, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    right = hmac.compare_digest(hmac.digest(signing, text.encode(), "sha256").hex(), fields["Signature"])
    return names, key if right and service == "sts" and age < timedelta(minutes=15) else None


@pytest.fixture(scope="module")
def pods(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pods]:
    """A cluster that tells whose a token is."""
    made = Pods(tmp_path_factory.mktemp("cluster"))
    yield made
    made.server.stop()


@pytest.fixture(scope="module")
def doors(lab: Lab, pods: Pods, tmp_path_factory: pytest.TempPathFactory) -> Doors:
    """The hub, with every way to log in set up."""
    return Doors(lab, pods, tmp_path_factory.mktemp("doors"))
