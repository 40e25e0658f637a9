"""GitHub Actions as a store."""

from typing import Annotated, Literal, Self

from pydantic import WithJsonSchema, model_validator

from keyturn.core.text.names import GITHUB_ACTIONS, LIMITS
from keyturn.settings.fields import Line, WebUrl, keep_plain_http_at_home, matching
from keyturn.settings.stores import Accounts, Placed, System

Repository = Annotated[
    str,
    matching(r"[A-Za-z0-9-]{1,39}/[A-Za-z0-9._-]{1,100}", "is not OWNER/NAME", "Write the owner, a slash, the name."),
    WithJsonSchema({"type": "string", "examples": ["octo/hello"]}),
]


class GitHubActionsSettings(Placed):
    """The Actions secrets of one repository, or of one of its environments. They can be written, never read."""

    kind: Literal["github-actions"]
    """Which store this is."""
    repository: Repository
    """OWNER/NAME."""
    environment: Line | None = None
    """An environment of the repository; without it, the repository's own secrets."""
    token_file: Line
    """A file with a token that may write secrets and variables of the repository."""
    api_url: WebUrl = "https://api.github.com"
    """Another address of the API: GitHub Enterprise, or an emulator."""
    ca_file: Line | None = None
    """A PEM file with the CA that signed its certificate, where it is not a public one."""

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
        """The repository."""
        return {("repository",): self.repository}

    @property
    def system(self) -> System:
        """The API, the repository and the environment."""
        api = self.api_url.rstrip("/").casefold()
        return (self.kind, api, self.repository.casefold(), (self.environment or "").casefold())
