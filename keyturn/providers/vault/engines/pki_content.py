"""The content of the hub's PKI engine.

Source: the API of the PKI secrets engine in the documentation of OpenBao and Vault.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

from keyturn.core.errors import Invalid, NotFound
from keyturn.core.ports.authorities import EngineState, Issuer, PublishedIssuers, WantedAuthority
from keyturn.core.ports.keys import key_parameters
from keyturn.providers.answers import reads_answers
from keyturn.providers.keys import x509
from keyturn.providers.vault.client import Calls

DEFAULT_LIFE: Final = timedelta(hours=768)
DEFAULTS: Final = "config/issuers"
MOST_ISSUERS: Final = 200
TYPES: Final = re.compile(r"(?s)\bkey_type \(string\)((?:(?!\n    \w).)*?)only valid values")


@reads_answers("the hub")
class VaultPkiEngine:
    """A :class:`keyturn.core.ports.authorities.PkiEngine`: the engine at ``mount``."""

    def __init__(self, calls: Calls, mount: str) -> None:
        self._calls = calls
        self.mount = mount

    def look(self, paths: Sequence[str]) -> EngineState | None:
        if (longest := self._longest()) is None:
            return None
        keys = {key: self._read(f"key/{key}")["key_name"] for key in self._list("keys")}
        issuers = (self._issuer(issuer, keys) for issuer in self._list("issuers"))
        configured = {path: self._settings(path) for path in paths}
        return EngineState(
            tuple(issuer for issuer in issuers if issuer),
            self._read(DEFAULTS)["default"],
            tuple(keys.values()),
            longest,
            {path: settings for path, settings in configured.items() if settings is not None},
            self._key_types(),
        )

    def published(self) -> PublishedIssuers:
        entries = self._listed()
        issuers = tuple(self._published(issuer, entry) for issuer, entry in entries)
        return PublishedIssuers(issuers, next((issuer for issuer, entry in entries if entry["is_default"]), ""))

    def issuer_of_key(self, key_id: str) -> Issuer | None:
        """From public data, the default issuer first."""
        entries = sorted(self._listed(), key=lambda entry: not entry[1]["is_default"])
        issuers = (self._published(issuer, entry) for issuer, entry in entries)
        return next((issuer for issuer in issuers if issuer.key_id == key_id), None)

    def _listed(self) -> list[tuple[str, Mapping[str, Any]]]:
        path = f"{self.mount}/issuers"
        body = self._calls.data("list", path, path, {"list": "true"})
        listed: Mapping[str, Any] = {} if body is None else body["key_info"]
        return [(issuer, entry) for issuer, entry in listed.items() if entry["key_id"]][-MOST_ISSUERS:]

    def _published(self, issuer: str, entry: Mapping[str, Any]) -> Issuer:
        return _described(issuer, entry["issuer_name"], self._read(f"issuer/{issuer}/json")["certificate"])

    def configure(self, path: str, settings: Mapping[str, Any]) -> None:
        """Keeps the default issuer."""
        in_force = {"default": self._read(DEFAULTS)["default"]} if path == DEFAULTS else {}
        self._post("configure", path, {**in_force, **settings})

    def make_root(self, name: str, wanted: WantedAuthority) -> Issuer:
        body = {**_subject(wanted), **key_parameters(wanted.key), "issuer_name": name, "key_name": name}
        made = self._make("root/generate/internal", name, {**body, "ttl": _seconds(wanted.ttl)}, wanted)
        return _described(made["issuer_id"], name, made["certificate"])

    def request(self, name: str, wanted: WantedAuthority) -> str:
        body = {**_subject(wanted), **key_parameters(wanted.key), "key_name": name}
        return str(self._make("intermediate/generate/internal", name, body, wanted)["csr"])

    def sign(self, request: str, wanted: WantedAuthority) -> Sequence[str]:
        """The limits come from here and not the request."""
        limits = {"ttl": _seconds(wanted.ttl), "max_path_length": wanted.below, "use_csr_values": False}
        hint = f"Check whether the authority at {self.mount} is itself valid for that long"
        body = {**_subject(wanted), **limits, "csr": request}
        signed = self._make("issuer/default/sign-intermediate", wanted.name, body, wanted, hint)
        above = signed.get("ca_chain") or [signed["issuing_ca"]]
        return list(dict.fromkeys(pem.strip() for pem in (signed["certificate"], *above)))

    def install(self, name: str, certificates: Sequence[str]) -> None:
        """The first certificate becomes an issuer with its key's name."""
        installed = self._post("install", "intermediate/set-signed", {"certificate": "\n".join(certificates)})
        for issuer in [issuer for issuer, key in (installed.get("mapping") or {}).items() if key]:
            path = f"{self.mount}/issuer/{issuer}"
            self._calls.patch("name", path, path, {"issuer_name": name})

    def promote(self, issuer: Issuer) -> None:
        path = f"{self.mount}/issuer/{issuer.id}"
        self._calls.patch("name", path, path, {"issuer_name": issuer.key_name})
        self._post("put in force", DEFAULTS, {"default": issuer.id, "default_follows_latest_issuer": False})

    def _longest(self) -> timedelta | None:
        name = f"sys/mounts/{self.mount}"
        try:
            engine = self._calls.get("read", name, name).json()["data"]
        except NotFound:
            return None
        if engine["type"] != "pki":
            remedy = "Name another mount in the catalogue's section pki"
            raise Invalid("read", name, f"it is an engine of the type {engine['type']}, and not pki", remedy)
        return timedelta(seconds=engine["config"]["max_lease_ttl"]) or DEFAULT_LIFE

    def _key_types(self) -> frozenset[str] | None:
        name = f"{self.mount}/keys/generate/internal"
        answer = self._calls.find("read", name, name, {"help": "1"})
        if answer is None or (listed := TYPES.search(answer.json().get("help") or "")) is None:
            return None
        return frozenset(re.findall(r'"([^"\s]+)"', listed[1]))

    def _issuer(self, issuer: str, keys: Mapping[str, str]) -> Issuer | None:
        """None for a certificate kept only for chains."""
        there = self._read(f"issuer/{issuer}")
        if there["key_id"] not in keys:
            return None
        described = _described(issuer, keys[there["key_id"]], there["certificate"])
        return replace(described, revoked=bool(there.get("revoked")))

    def _settings(self, path: str) -> Mapping[str, Any] | None:
        name = f"{self.mount}/{path}"
        answer = self._calls.find("read", name, name)
        settings: Mapping[str, Any] | None = None if answer is None else answer.json()["data"]
        return settings

    def _make(
        self, path: str, name: str, body: Mapping[str, Any], wanted: WantedAuthority, hint: str = ""
    ) -> Mapping[str, Any]:
        try:
            return self._post("make", path, body)
        except Invalid:
            problem = f"the hub refuses a {wanted.key} key or a certificate of {wanted.ttl.days} d"
            hint = hint or "See whether its engine has such keys, and whether another apply has made it just now"
            raise Invalid("make", f"{self.mount}/{name}", problem, f"{hint}; then plan again") from None

    def _post(self, doing: str, path: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        name = f"{self.mount}/{path}"
        answer = self._calls.post(doing, name, name, body)
        made: Mapping[str, Any] = (answer.json() if answer.content else {}).get("data") or {}
        return made

    def _read(self, path: str) -> Any:
        name = f"{self.mount}/{path}"
        return self._calls.get("read", name, name).json()["data"]

    def _list(self, path: str) -> list[str]:
        return self._calls.list(f"{self.mount}/{path}", f"{self.mount}/{path}")


def _described(issuer: str, key_name: str, pem: str) -> Issuer:
    return Issuer(issuer, key_name, certificate=pem.strip(), **x509.describe_authority(pem))


def _subject(wanted: WantedAuthority) -> dict[str, Any]:
    organization = {"organization": wanted.organization} if wanted.organization else {}
    return {"common_name": wanted.common_name, "exclude_cn_from_sans": True, **organization}


def _seconds(life: timedelta) -> str:
    return f"{int(life.total_seconds())}s"
