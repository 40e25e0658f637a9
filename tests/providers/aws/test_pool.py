"""boto3's clients over rotations of their key, at the local AWS, which refuses a key that is inactive or unknown."""

import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from keyturn.client.client import SecretClient
from keyturn.core.errors import NotFound, Unavailable
from keyturn.core.notifications.notices import SECRET_REVOKED, Notice
from keyturn.providers.aws.pool import open_secret_session
from local.emulators.aws import LocalAws
from tests.support.lab import fresh
from tests.support.served import MADE, MemorySource

PATH = "ml-training/uploader"
REGION = "eu-central-1"


class Site:
    """A user whose keys the test makes and ends, their secret in a source, and a client that signs with it."""

    def __init__(self, aws: LocalAws) -> None:
        session: Any = boto3.Session()
        self.iam = session.client("iam", region_name=REGION, endpoint_url=aws.endpoint_url)
        self.user, self.key_id = f"app-{fresh()}", ""
        self.iam.create_user(UserName=self.user)
        allowed = {"Effect": "Allow", "Action": "secretsmanager:ListSecrets", "Resource": "*"}
        document = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
        self.iam.put_user_policy(UserName=self.user, PolicyName="may", PolicyDocument=document)
        self.source = MemorySource()
        self.rotate()
        self.client = SecretClient([self.source], poll=0, patience=0)
        own = open_secret_session(self.client, PATH, region_name=REGION)
        self.manager: Any = own.client("secretsmanager", endpoint_url=aws.endpoint_url)

    def rotate(self) -> Notice:
        """A new key, and the end of the one before; the notice of it."""
        key = self.iam.create_access_key(UserName=self.user)["AccessKey"]
        if self.key_id:
            self.iam.delete_access_key(UserName=self.user, AccessKeyId=self.key_id)
        self.key_id = key["AccessKeyId"]
        return self.source.put(
            PATH, {"access_key_id": self.key_id, "secret_access_key": key["SecretAccessKey"], "user": self.user}
        )

    def use(self) -> None:
        """One signed call."""
        self.manager.list_secrets(MaxResults=1)


@pytest.fixture
def site(aws: LocalAws) -> Iterator[Site]:
    made = Site(aws)
    with closing(made.iam), closing(made.manager), made.client:
        yield made


def test_a_client_signs_with_the_key_that_a_notice_told_of(site: Site) -> None:
    site.use()
    site.client.told(site.rotate())
    reads = len(site.source.reads)
    site.use()
    assert len(site.source.reads) == reads


def test_a_request_whose_key_is_refused_is_sent_once_more_with_the_key_read_anew(site: Site) -> None:
    site.use()
    site.rotate()
    site.use()
    assert site.client.get(PATH).version == 2


def test_what_is_refused_under_every_version_is_refused(site: Site) -> None:
    site.use()
    site.iam.delete_access_key(UserName=site.user, AccessKeyId=site.key_id)
    for _ in range(2):
        with pytest.raises(ClientError, match="UnrecognizedClientException"):
            site.use()
    assert len(site.source.reads) == 2


def test_after_a_revocation_for_good_nothing_is_signed(site: Site) -> None:
    site.use()
    site.client.told(Notice(SECRET_REVOKED, PATH, 1, MADE, replaced=False))
    with pytest.raises(Unavailable):
        site.use()


def test_what_signs_shows_no_key(site: Site) -> None:
    credentials = site.manager._request_signer._credentials
    shown = f"{credentials!r} {vars(credentials)}"
    assert site.client.get(PATH)["secret_access_key"].reveal() not in shown
    assert credentials.access_key == site.key_id
    assert credentials.token is None


def test_a_secret_that_holds_no_key_is_said_to_lack_the_field(site: Site) -> None:
    site.client.told(site.source.put(PATH, {"password": "x"}))
    with pytest.raises(NotFound, match="it has no field secret_access_key"):
        site.use()
