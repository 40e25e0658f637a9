"""The tags of parameters, which no description contains.

Source: "ListTagsForResource" in the AWS Systems Manager API reference, "GetResources" in the Resource Groups Tagging
API reference.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from keyturn.core.ports.stores import (
    TAG_MANAGED_BY,
    TAG_TAGS,
    Details,
    OwnershipTags,
    RemoteSecret,
    others,
    tag_changes,
)
from keyturn.providers.aws.client import SDK_CONFIG, as_tags, field, items_of, read_tags, translate_aws_errors

if TYPE_CHECKING:
    import boto3
    from mypy_boto3_ssm import SSMClient

FEW: Final = 10
"""The most parameters that are queried individually."""
READERS: Final = 4
PAGE: Final = 100
LIST: Final = "list the tags of"


class Tagging:
    """Opens the client of the tagging API on first use."""

    def __init__(self, store: str, session: "boto3.Session", region: str, endpoint_url: str | None) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._open: Callable[[], Any] = lambda: session.client(
            "resourcegroupstaggingapi", region_name=region, endpoint_url=endpoint_url, config=SDK_CONFIG
        )
        self._client: Any = None

    def __call__(self) -> Any:
        with self._lock, translate_aws_errors("open", self._store):
            self._client = self._client or self._open()
            return self._client

    def close(self) -> None:
        if self._client:
            self._client.close()


class ParameterTags:
    def __init__(self, store: str, client: "SSMClient", tagging: Callable[[], Any]) -> None:
        self._store = store
        self._client = client
        self._tagging = tagging

    def described(self, copies: Sequence[RemoteSecret]) -> list[RemoteSecret]:
        """The copies with their tags, and with the names of Keyturn's tags in their marks."""
        listed = self._listed() if len(copies) > FEW else {}
        missing = [copy.name for copy in copies if _key(copy.name) not in listed]
        with ThreadPoolExecutor(READERS) as pool:
            listed |= zip(map(_key, missing), pool.map(self._tags_of, missing), strict=True)
        return [_tagged(copy, listed[_key(copy.name)]) for copy in copies]

    def lay(self, current: RemoteSecret, marks: OwnershipTags, details: Details) -> RemoteSecret:
        """Remove undeclared tags that Keyturn set, then set the declared ones."""
        if current.details is None:
            [current] = self.described([current])
        before = current.marks.tags if current.marks else ()
        there = current.details or Details()
        changes = tag_changes(there.tags, details.tags, before)
        gone = [name for name, text in changes.items() if text is None]
        laid = {name: text for name, text in changes.items() if text is not None}
        named = {TAG_TAGS: " ".join(marks.tags)} if marks.tags and marks.tags != before else {}
        with translate_aws_errors("label", f"{self._store}:{current.name}"):
            if gone or (before and not marks.tags):
                keys = [*gone, *([] if marks.tags else [TAG_TAGS])]
                self._client.remove_tags_from_resource(ResourceType="Parameter", ResourceId=current.name, TagKeys=keys)
            if laid or named:
                self._client.add_tags_to_resource(
                    ResourceType="Parameter", ResourceId=current.name, Tags=as_tags({**laid, **named})
                )
        return replace(current, marks=marks, details=details.laid_over(there, current.marks))

    def _tags_of(self, name: str) -> dict[str, str]:
        with translate_aws_errors(LIST, f"{self._store}:{name}"):
            answer = self._client.list_tags_for_resource(ResourceType="Parameter", ResourceId=name)
        return read_tags(field(answer, "TagList", LIST, f"{self._store}:{name}"))

    def _listed(self) -> dict[str, dict[str, str]]:
        name = f"{self._store}:*"
        wanted = {"ResourceTypeFilters": ["ssm:parameter"], "TagFilters": [{"Key": TAG_MANAGED_BY}]}
        listed: dict[str, dict[str, str]] = {}
        with translate_aws_errors(LIST, name):
            pages = self._tagging().get_paginator("get_resources").paginate(**wanted, ResourcesPerPage=PAGE)
            for resource in items_of(pages, "ResourceTagMappingList", LIST, name):
                arn = str(field(resource, "ResourceARN", LIST, name))
                listed[_key(arn.partition(":parameter/")[2])] = read_tags(resource.get("Tags", ()))
        return listed


def _key(name: str) -> str:
    """A name as in an ARN: without a leading slash."""
    return name.lstrip("/")


def _tagged(copy: RemoteSecret, tags: Mapping[str, str]) -> RemoteSecret:
    named = tuple(tags.get(TAG_TAGS, "").split())
    return replace(copy, marks=copy.marks and replace(copy.marks, tags=named), details=Details(others(tags)))
