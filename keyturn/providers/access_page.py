"""The page that messages about temporary access link to."""

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from keyturn.core.errors import Invalid
from keyturn.core.workspaces import WorkspaceNames

PAGE: Final = "KEYTURN_ACCESS_PAGE"
"""The site's own page; ``{request}`` in it becomes the request's name."""

UI: Final = "PREFECT_UI_URL"
API: Final = "PREFECT_API_URL"
TABLE: Final = "grant-access"


def access_page(environ: Mapping[str, str]) -> str:
    if page := environ.get(PAGE):
        if urlsplit(page).scheme not in ("http", "https") or not urlsplit(page).hostname:
            raise Invalid("use", PAGE, "it is no address of a page", "Write https://HOST/PATH, with {request} in it")
        return page
    ui = environ.get(UI) or environ.get(API, "").removesuffix("/").removesuffix("/api")
    table = WorkspaceNames.from_environment(environ).artifact(TABLE)
    return f"{ui.removesuffix('/')}/artifacts/key/{table}" if ui else ""
