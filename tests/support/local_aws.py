"""Leading this process, and those that it starts, to the local AWS and to no other."""

import os

import pytest

from deployments.local.aws import LocalAws


def use(server: LocalAws, patch: pytest.MonkeyPatch) -> None:
    """Put the server's key into the environment instead of whatever the machine has."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        patch.delenv(name)
    patch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(server.credentials))
    patch.setenv("AWS_CONFIG_FILE", str(server.directory / "no-config"))
    patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
