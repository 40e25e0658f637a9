"""A JWT of a Kubernetes service account, or of any other issuer that the hub trusts (OIDC).

Its claims are read without checking the signature: they explain errors and are never trusted.
"""

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import hvac

from keyturn.core.errors import Denied, Invalid
from keyturn.providers.vault.logins.exchange import LoginMethod, Refusal, TokenLife, denied, exchange
from keyturn.providers.vault.logins.files import read_login
from keyturn.settings.hub_login import AUDIENCE, ROLE, SERVICE_ACCOUNT_TOKEN, TOKEN_PATH, JwtLogin, KubernetesLogin


class JwtMethod(LoginMethod):
    def __init__(self, login: JwtLogin) -> None:
        self._login = login

    def log_in(self, client: hvac.Client) -> TokenLife:
        """Send the JWT. Raises Denied, NotFound, Invalid. A JWT for another audience is not sent."""
        login = self._login
        # Kubernetes makes its projected tokens readable for every user of a container.
        text = read_login(login.token_path, TOKEN_PATH, private=login.token_path != SERVICE_ACCOUNT_TOKEN)
        claims = claims_of(text, login.token_path)
        if login.audience and login.audience not in audiences(claims):
            problem = f"the JWT in {login.token_path} is for {shown(audiences(claims))}, not for {login.audience}"
            hint = f"Have its issuer name that audience, or correct {AUDIENCE}. It was not shown to the hub"
            raise denied(problem, hint)
        try:
            return exchange(client, login.mount, {"role": login.role, "jwt": text})
        except Refusal:
            raise self._refused(claims) from None

    def _refused(self, claims: Mapping[str, Any]) -> Denied:
        login = self._login
        if (end := ended_at(claims)) is not None:
            hint = "Find why the file was not renewed since, and check the clocks of this machine and the hub"
            return denied(f"the JWT in {login.token_path} expired at {end:%Y-%m-%d %H:%M:%S} UTC", hint)
        whose = f"the JWT of {shown([claims.get('sub')])} for {shown(audiences(claims))}"
        problem = f"the role {login.role} at auth/{login.mount} refuses {whose}, or there is no such role"
        bound = "bound_audiences, bound_subject, bound_claims"
        if isinstance(login, KubernetesLogin):
            bound = "bound_service_account_names, bound_service_account_namespaces, audience"
        return denied(problem, f"Check {ROLE}, the role's {bound}, and the method's config in the hub")


def claims_of(text: str, file: str) -> Mapping[str, Any]:
    try:
        _, payload, _ = text.split(".")
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        if isinstance(claims, dict):
            return claims
    except (ValueError, RecursionError):
        pass
    raise Invalid("read", file, "it holds no JWT", f"It should be one, signed: correct {TOKEN_PATH}, or fix the file")


def audiences(claims: Mapping[str, Any]) -> list[Any]:
    """The intended audiences. Source: RFC 7519, 4.1.3."""
    audience = claims.get("aud")
    return audience if isinstance(audience, list) else [audience]


def ended_at(claims: Mapping[str, Any]) -> datetime | None:
    """None before the expiry, by this machine's clock."""
    try:
        end = datetime.fromtimestamp(claims["exp"], UTC)
    except (KeyError, TypeError, ValueError, OverflowError, OSError):
        return None
    return end if end <= datetime.now(UTC) else None


def shown(claims: list[Any]) -> str:
    texts = [claim for claim in claims if isinstance(claim, str) and claim.isprintable() and len(claim) <= 200]
    return ", ".join(texts) or "nobody"
