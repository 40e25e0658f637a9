"""Issuers of JWTs: a signing key, and an OIDC provider that signs in without asking."""

import json
import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs, urlencode

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

CLIENT = "the-hub"


class Issuer:
    """A key of its own, known by ``name``."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._key, self._id = rsa.generate_private_key(65537, 2048), secrets.token_hex(4)

    @property
    def public_key(self) -> str:
        """For those who check signatures, PEM."""
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return self._key.public_key().public_bytes(serialization.Encoding.PEM, form).decode()

    @property
    def public_keys(self) -> dict[str, Any]:
        """The same as a JWK set."""
        key = json.loads(RSAAlgorithm.to_jwk(self._key.public_key()))
        return {"keys": [{**key, "kid": self._id, "alg": "RS256", "use": "sig"}]}

    def token(self, subject: str, audience: str | list[str], lives: float = 600, **claims: Any) -> str:
        """A signed JWT; one that has ended where ``lives`` is negative."""
        now = int(time.time())
        begun = min(now, now + int(lives) - 600)
        told = {"iss": self.name, "sub": subject, "aud": audience, "iat": begun, "nbf": begun, "exp": now + int(lives)}
        return jwt.encode({**told, **claims}, self._key, "RS256", {"kid": self._id})


class Provider:
    """An OIDC provider whose every visitor is ``person``, in these ``groups``. Source: OpenID Connect Core, 3.1."""

    def __init__(self, server: HTTPServer, person: str = "alice", groups: Sequence[str] = ()) -> None:
        self.url = server.url_for("").rstrip("/")
        self.issuer = Issuer(self.url)
        self.person, self.groups = person, list(groups)
        self.secret = secrets.token_hex(8)
        self._nonces: dict[str, str] = {}
        server.expect_request("/.well-known/openid-configuration").respond_with_json(self._configuration())
        server.expect_request("/keys").respond_with_json(self.issuer.public_keys)
        server.expect_request("/authorize").respond_with_handler(self._authorize)
        server.expect_request("/token", method="POST").respond_with_handler(self._token)

    def _configuration(self) -> Mapping[str, Any]:
        return {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/keys",
            "id_token_signing_alg_values_supported": ["RS256"],
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
        }

    def _authorize(self, request: Request) -> Response:
        code = secrets.token_hex(8)
        self._nonces[code] = request.args["nonce"]
        back = urlencode({"code": code, "state": request.args["state"]})
        return Response(status=302, headers={"Location": f"{request.args['redirect_uri']}?{back}"})

    def _token(self, request: Request) -> Response:
        form = parse_qs(request.get_data(as_text=True))
        given = request.authorization.password if request.authorization else form.get("client_secret", [""])[0]
        if given != self.secret:
            return Response(json.dumps({"error": "invalid_client"}), 401, content_type="application/json")
        nonce = self._nonces.pop(form["code"][0])
        token = self.issuer.token(self.person, CLIENT, nonce=nonce, groups=self.groups)
        body = {"access_token": secrets.token_hex(8), "token_type": "Bearer", "expires_in": 60, "id_token": token}
        return Response(json.dumps(body), content_type="application/json")
