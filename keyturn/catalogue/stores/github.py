"""GitHub Actions as a store."""

from typing import Annotated, Literal, Self

from pydantic import WithJsonSchema, model_validator

from keyturn.core.store_limits import GITHUB_ACTIONS, LIMITS
from keyturn.settings.fields import Line, WebUrl, keep_plain_http_at_home, matching
from keyturn.settings.stores import Accounts, Placed, System

Repository = Annotated[
    str,
    matching(r"[A-Za-z0-9-]{1,39}/[A-Za-z0-9._-]{1,100}", "is not OWNER/NAME", "Write the owner, a slash, the name."),
    WithJsonSchema({"type": "string", "examples": ["octo/hello"]}),
]


class GitHubActionsSettings(Placed):
    """The Actions secrets of a repository, or of one of its environments. They can be written but not read."""

    kind: Literal["github-actions"]
    """The kind of store."""
    repository: Repository
    """The repository, as OWNER/NAME."""
    environment: Line | None = None
    """An environment of the repository; by default, the repository's own secrets."""
    token_file: Line
    """A file with a token that may write secrets and variables of the repository."""
    api_url: WebUrl = "https://api.github.com"
    """The address of the API, such as GitHub Enterprise's or an emulator's."""
    ca_file: Line | None = None
    """A PEM file with the CA of its certificate, if it is not a public CA."""

    ADAPTER = "keyturn.providers.github.store:GitHubActions"
    EXTRA = "github"
    LIMITS = LIMITS[GITHUB_ACTIONS]
    READABLE = False
    QUOTA = 1.0
    """GitHub's advice: one content request a second."""

    @model_validator(mode="after")
    def _keep_values_from_others(self) -> Self:
        keep_plain_http_at_home(self.api_url, False, "Use https.", "api_url")
        return self

    @property
    def accounts(self) -> Accounts:
        return {("repository",): self.repository}

    @property
    def system(self) -> System:
        api = self.api_url.rstrip("/").casefold()
        return (self.kind, api, self.repository.casefold(), (self.environment or "").casefold())
