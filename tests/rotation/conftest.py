"""What only the tests of whole rotations need: a cloud, a consumer, and children that may be killed."""

import secrets
from collections.abc import Iterator

import pytest

from keyturn.core.sensitive import Sensitive
from local.emulators.aws import LocalAws
from local.support.ports import free_port
from tests.support import local_aws
from tests.support.consumer import Consumer
from tests.support.lab import Lab


@pytest.fixture(scope="package")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAws]:
    """The local AWS, with its key in the environment instead of whatever the machine has."""
    with LocalAws(tmp_path_factory.mktemp("aws"), free_port()) as server, pytest.MonkeyPatch.context() as environment:
        local_aws.use(server, environment)
        yield server


@pytest.fixture(scope="package")
def consumer(lab: Lab) -> Iterator[Consumer]:
    """An application that is told, whose key lies in the hub."""
    key = f"whsec_{secrets.token_hex(24)}"
    lab.keep("webhooks/app", {"key": key})
    with Consumer(Sensitive(key)) as listening:
        yield listening
