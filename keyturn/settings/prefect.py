"""How to reach a Prefect server, by Prefect's own settings, without importing Prefect, which takes a second.

Sources and their order are Prefect's (3.9, ``prefect/settings/sources.py``): the environment precedes the profile.
Anything else that may hold settings is left to Prefect.
"""

import json
import os
import tomllib
from base64 import b64encode
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from keyturn.core.sensitive import Sensitive

TIMEOUT: Final = 60.0
"""Prefect's default timeout of a request, in seconds."""

CA_FILE: Final = "PREFECT_API_SSL_CERT_FILE"
OWN_HEADERS: Final = frozenset({"user-agent", "prefect-csrf-token", "prefect-csrf-client"})
"""Headers that no setting replaces."""

LEFT_TO_PREFECT: Final = (
    "PREFECT_API",
    "PREFECT_CLIENT",
    "PREFECT_CLOUD",
    "PREFECT_CLOUD_API_URL",
    "PREFECT_CLOUD_UI_URL",
    "PREFECT_TEST_MODE",
    "PREFECT_UNIT_TEST_MODE",
    "PREFECT_TESTING_TEST_MODE",
    "PREFECT_TESTING_UNIT_TEST_MODE",
)
"""Settings that change the meaning of others: whole groups as JSON, another cloud, Prefect's own tests."""

CLOUD: Final = ("https://api.prefect.cloud/api", "https://app.prefect.cloud")
"""The addresses of Prefect Cloud's API and of its pages."""

YES: Final = frozenset({"1", "true", "t", "yes", "y", "on"})
NO: Final = frozenset({"0", "false", "f", "no", "n", "off"})


@dataclass(frozen=True)
class PrefectSettings:
    """A server's address, empty where none is set, with its trust and the login.

    ``ui_url`` is the address of its pages. ``ca_file`` holds the authorities that are trusted instead of the public
    ones; unless ``checked``, any server is trusted. ``timeout`` is in seconds, for one request. ``headers`` are sent
    with each.
    """

    url: str = ""
    ui_url: str = ""
    key: Sensitive | None = None
    auth_string: Sensitive | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    ca_file: str = ""
    checked: bool = True
    timeout: float = TIMEOUT

    def authorized(self) -> dict[str, str]:
        """Return the headers of a request, with its login: of several, the one that Prefect's own client prefers."""
        sent = {name.title(): text for name, text in self.headers.items() if name.lower() not in OWN_HEADERS}
        address = urlsplit(self.url)
        if address.username or address.password:
            sent["Authorization"] = basic(f"{unquote(address.username or '')}:{unquote(address.password or '')}")
        elif "Authorization" in sent:
            return sent
        elif self.auth_string:
            sent["Authorization"] = basic(self.auth_string.reveal())
        elif self.key:
            sent["Authorization"] = f"Bearer {self.key.reveal()}"
        return sent


def basic(text: str) -> str:
    """Return an ``Authorization`` header for a name and a password (RFC 7617)."""
    return f"Basic {b64encode(text.encode()).decode()}"


def read_settings(environment: Mapping[str, str], directory: Path) -> PrefectSettings | None:
    """Return Prefect's settings in this environment and directory; None where only Prefect itself can read them."""
    variables = {name.upper(): text for name, text in environment.items() if name.upper().startswith("PREFECT_")}
    try:
        if concerns_prefect(directory):
            return None
        values = {**profile(environment), **variables}
        if any(name in values for name in LEFT_TO_PREFECT):
            return None
        return settings_of(values, environment)
    except (OSError, ValueError, TypeError, AttributeError):
        return None  # Whatever it is, Prefect says what is wrong with it.


def settings_of(values: Mapping[str, Any], environment: Mapping[str, str]) -> PrefectSettings:
    """Return the settings by their names. Raises ValueError, TypeError for an invalid value."""
    if not all(isinstance(text, str) for text in values.values()):
        raise TypeError("a profile's values are texts")
    url = values.get("PREFECT_API_URL", "")
    ui_url = values.get("PREFECT_UI_URL")
    return PrefectSettings(
        url,
        pages_of(url) if ui_url is None else ui_url,
        hidden(values.get("PREFECT_API_KEY")),
        hidden(values.get("PREFECT_API_AUTH_STRING")),
        headers(json.loads(values.get("PREFECT_CLIENT_CUSTOM_HEADERS", "{}"))),
        values.get(CA_FILE, environment.get("SSL_CERT_FILE", "")),
        not yes(values.get("PREFECT_API_TLS_INSECURE_SKIP_VERIFY", "no")),
        _seconds(values.get("PREFECT_API_REQUEST_TIMEOUT", str(TIMEOUT))),
    )


def concerns_prefect(directory: Path) -> bool:
    """Whether files of the directory may hold settings of Prefect. Raises OSError, ValueError."""
    if (directory / "prefect.toml").exists():
        return True
    with suppress(FileNotFoundError):
        if "prefect_" in (directory / ".env").read_text().lower():
            return True
    with suppress(FileNotFoundError):
        text = (directory / "pyproject.toml").read_text()
        return "prefect" in text and "prefect" in tomllib.loads(text).get("tool", {})
    return False


def profile(environment: Mapping[str, str]) -> dict[str, Any]:
    """Return the settings of the active profile, empty without a file of profiles. Raises OSError, ValueError.

    Prefect's default profile names no server.
    """
    named = environment.get("PREFECT_PROFILE")
    file = profiles_file(environment)
    if not file.exists():
        if named:
            raise ValueError("a profile of Prefect's own")
        return {}
    content = tomllib.loads(file.read_text(encoding="utf-8"))
    if not (active := named or content.get("active")):
        return {}
    settings: dict[str, Any] = content["profiles"].get(active)
    if settings is None:
        raise ValueError("there is no such profile")
    return settings


def profiles_file(environment: Mapping[str, str]) -> Path:
    if named := environment.get("PREFECT_PROFILES_PATH"):
        return Path(named)
    home = environment.get("PREFECT_HOME")
    return (Path(home) if home else Path(os.path.expanduser("~"), ".prefect")) / "profiles.toml"


def pages_of(url: str) -> str:
    """Return the address of a server's pages, which Prefect derives from its API's address."""
    api, pages = CLOUD
    place = url.replace(api, pages) if url.startswith(api) else url
    place = place.removesuffix("/api").replace("/api/", "/")
    return place.replace("/accounts/", "/account/").replace("/workspaces/", "/workspace/")


def hidden(text: str | None) -> Sensitive | None:
    return Sensitive(text) if text else None


def headers(document: Any) -> dict[str, str]:
    if not all(isinstance(text, str) for text in (*document.keys(), *document.values())):
        raise TypeError("headers are texts")
    return dict(document)


def yes(text: str) -> bool:
    if text.lower() not in YES | NO:
        raise ValueError("neither yes nor no")
    return text.lower() in YES


def _seconds(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise ValueError("no time to wait")
    return number
