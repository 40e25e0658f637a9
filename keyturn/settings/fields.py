"""The types of value that the catalogue's models share, each with its own error messages."""

import re
from datetime import timedelta
from typing import Annotated, Any, Final, LiteralString
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, PlainSerializer, WithJsonSchema
from pydantic_core import PydanticCustomError

from keyturn.core import mounts
from keyturn.core.clear_text import leaves_in_clear
from keyturn.settings import durations

PLAIN: Final = "keyturn"
"""The type of errors whose messages are already for people."""

_TEMPLATE: Final[LiteralString] = "{message}"


class Model(BaseModel):
    """Base of every model: immutable, and closed to unknown keys.

    A model is built when it is first used, and the meanings of its keys are read on demand
    (:mod:`keyturn.settings.meanings`). A short command pays for neither.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, defer_build=True)


def refused(message: str, remedy: str, key: str = "") -> PydanticCustomError:
    """Return an error for pydantic to collect; ``key`` is the key of the wrong value inside a refused mapping."""
    return PydanticCustomError(PLAIN, _TEMPLATE, {"message": message, "remedy": remedy, "key": key})


def matching(pattern: str, message: str, remedy: str) -> AfterValidator:
    """Return a check that the whole text matches. The pattern is compiled with the first text."""

    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise refused(message, remedy)
        return text

    return AfterValidator(check)


# --- durations ---------------------------------------------------------------------------------------------


def _duration(value: Any) -> timedelta:
    if isinstance(value, timedelta):
        return value
    try:
        return durations.parse(value if isinstance(value, str) else "")
    except ValueError as error:
        raise refused(str(error), "Write a number with a unit: 90s, 15m, 12h, 30d, 2w or 1h30m.") from None


def _positive(duration: timedelta) -> timedelta:
    if duration <= timedelta(0):
        raise refused("must be longer than zero", "Write a number with a unit: 90s, 15m, 12h, 30d, 2w or 1h30m.")
    return duration


_DURATION_SCHEMA: Final = {
    "type": "string",
    "pattern": durations.PATTERN,
    "examples": ["90s", "15m", "12h", "30d", "2w"],
}

Duration = Annotated[
    timedelta, BeforeValidator(_duration), PlainSerializer(durations.show), WithJsonSchema(_DURATION_SCHEMA)
]
PositiveDuration = Annotated[Duration, AfterValidator(_positive)]


# --- names and paths ---------------------------------------------------------------------------------------

LONGEST_PATH: Final = 200
"""Stores keep ``path@version`` in a tag, and AWS and Azure allow 256 characters there."""

_SEGMENT: Final = r"(?!\.{1,2}(?:/|$))[A-Za-z0-9_.-]+"
HUB_PATH: Final = rf"^{_SEGMENT}(/{_SEGMENT})*$"
SECRET_PATH: Final = rf"^({mounts.MOUNT}:)?{_SEGMENT}(/{_SEGMENT})*$"
"""A path, with the name of its mount before a colon where that is not the default one."""
NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$"
CATALOGUE_ID: Final = r"^[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?$"
"""Short, and of characters that every store accepts in a tag."""


def illegal_path(path: str) -> tuple[str, str] | None:
    """Return why ``path`` can't be a hub path, and the remedy; None when it can."""
    if path != path.strip("/"):
        return "a hub path neither begins nor ends with a slash", "Remove the slash."
    segments = path.split("/")
    if "" in segments:
        return "a hub path has no empty part", "Write one slash between two names."
    if "." in segments or ".." in path:
        return "a hub path has no part . and no .. in it", "Write the path out."
    if not re.fullmatch(HUB_PATH, path):
        return "a hub path holds letters, digits and _ . - only, with / between its parts", "Rename it."
    return None if len(path) <= LONGEST_PATH else (f"a hub path has at most {LONGEST_PATH} characters", "Shorten it.")


def illegal_secret(path: str) -> tuple[str, str] | None:
    """Return why ``path``, with its mount if any, can't name a secret, and the remedy; None when it can."""
    mount, within = mounts.split(path)
    too_long = (f"a hub path has at most {LONGEST_PATH} characters, its mount's name included", "Shorten it.")
    return illegal_path(within) or (too_long if mount and len(path) > LONGEST_PATH else None)


def _hub_path(path: str) -> str:
    if flaw_and_remedy := illegal_path(path):
        raise refused(*flaw_and_remedy)
    return path


HubPath = Annotated[str, AfterValidator(_hub_path), WithJsonSchema({"type": "string", "pattern": HUB_PATH})]

Line = Annotated[
    str,
    matching(r"[^\x00-\x1f\x7f]*[^\x00-\x20\x7f][^\x00-\x1f\x7f]*", "must be one line of text", "Write some text."),
    WithJsonSchema({"type": "string", "minLength": 1}),
]
"""A text of one line that is not blank."""

_ROLE_RULE: Final = "Choose a name of 1 to 63 bytes that does not begin with pg_ (PostgreSQL keeps those to itself)."


def _role_name(name: str) -> str:
    reserved = name.startswith("pg_") or name in ("public", "none")
    if reserved or not 1 <= len(name.encode()) <= 63 or re.search(r"[\x00-\x1f\x7f]", name):
        raise refused("is not a legal account name", _ROLE_RULE)
    return name


RoleName = Annotated[
    str, AfterValidator(_role_name), WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 63})
]
"""An account or role of a database: what PostgreSQL allows ("Identifiers and Key Words", "CREATE ROLE").

Other kinds of target allow less: the catalogue's checks compare."""

EngineRole = Annotated[
    str,
    matching(r"(?!.*\.\.)\w(([\w.-]+)?\w)?", "is not a legal role name", "Use letters, digits and _ . -, no two dots"),
    WithJsonSchema({"type": "string", "pattern": r"^(?!.*\.\.)\w(([\w.-]+)?\w)?$"}),
]

_ENGINE_CREDENTIAL: Final = rf"{_SEGMENT}(/{_SEGMENT})*/creds/[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?"

EngineCredential = Annotated[
    str,
    matching(
        _ENGINE_CREDENTIAL,
        "is not where an engine of the hub makes credentials",
        "Write MOUNT/creds/ROLE without any pattern, such as database/creds/ml-reader.",
    ),
    WithJsonSchema({"type": "string", "pattern": f"^{_ENGINE_CREDENTIAL}$"}),
]
"""The path where an engine makes the credentials of one role, without any pattern."""

RESERVED_MOUNTS: Final = frozenset({"auth", "cubbyhole", "identity", "sys"})
"""The hub's own paths, where no engine is mounted."""


def _engine_mount(path: str) -> str:
    if path.partition("/")[0] in RESERVED_MOUNTS:
        raise refused("is a place of the hub itself, and no engine's mount", "Write the path of an engine's mount.")
    return path


EngineMount = Annotated[HubPath, AfterValidator(_engine_mount)]


# --- addresses ---------------------------------------------------------------------------------------------


def split_url(url: str, schemes: tuple[str, ...]) -> SplitResult:
    """Return the parts of a URL.

    Refuses, without quoting it, one without a host, or with more than scheme, host and path.
    """
    try:
        parts = urlsplit(url)
        legal = parts.port != 0 and bool(parts.hostname) and not re.search(r"\s", url)
    except ValueError:
        legal = False
    if not legal or parts.scheme not in schemes:
        remedy = f"Write {' or '.join(f'{scheme}://host' for scheme in schemes)}, with :port if needed."
        raise refused("is not a URL that can be used here", remedy)
    if parts.username is not None or parts.password is not None:
        raise refused("a URL must not hold a user name or a password", "Remove the part before the @.")
    if "?" in url or "#" in url:
        raise refused("a URL must end with its path", "Remove what follows the ? or #.")
    return parts


def keep_plain_http_at_home(url: str, insecure_http: bool, remedy: str, key: str = "url") -> None:
    """Refuse plain http to another machine unless ``insecure_http``, with this remedy. ``key`` names the URL."""
    split_url(url, ("https", "http"))
    if leaves_in_clear(url) and not insecure_http:
        raise refused("plain http to another machine", remedy, key)


def _url(*schemes: str) -> AfterValidator:
    def check(url: str) -> str:
        split_url(url, schemes)
        return url

    return AfterValidator(check)


HttpsUrl = Annotated[str, _url("https"), WithJsonSchema({"type": "string", "pattern": "^https://"})]
WebUrl = Annotated[str, _url("https", "http"), WithJsonSchema({"type": "string", "pattern": "^https?://"})]
