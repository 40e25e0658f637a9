"""Azure Blob Storage: block blobs of one account, by path (`/ACCOUNT/CONTAINER/BLOB`).

Source: "Blob Storage REST API", and "Store business-critical blob data with immutable storage".
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from html import escape
from http import HTTPStatus
from typing import ClassVar

from local.emulators.http_server import Handler, HttpServer
from local.emulators.object_stores.state import HeldObject, ObjectState

UNTIL = "x-ms-immutability-policy-until-date"
MODE = "x-ms-immutability-policy-mode"


@dataclass(frozen=True)
class BlobAnswer:
    """What is answered. An error has its code in a header, too."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    def content(self) -> bytes:
        return self.body


def refused(status: HTTPStatus, code: str) -> BlobAnswer:
    """An error in the service's own words."""
    body = f'<?xml version="1.0" encoding="utf-8"?><Error><Code>{code}</Code><Message>{code}</Message></Error>'
    return BlobAnswer(status, body.encode(), {"x-ms-error-code": code, "Content-Type": "application/xml"})


class AzureBlobHandler(Handler):
    """Answers the calls of one connection."""

    max_body: ClassVar[int] = 64 << 20

    def answer(self, body: bytes) -> BlobAnswer:
        """One call, on a container or a blob."""
        state: ObjectState = self.server.emulator  # type: ignore[attr-defined]
        _, container, *blob = self.parts()
        if container not in state.buckets:
            return refused(HTTPStatus.NOT_FOUND, "ContainerNotFound")
        if not blob:
            return self._list(state, container)
        name = "/".join(blob)
        match self.command:
            case "PUT":
                return self._put(state, container, name, body)
            case "DELETE":
                return self._remove(state, container, name)
            case _:
                return self._read(state, container, name)

    def refusal(self) -> BlobAnswer:
        """A body that is too long."""
        return refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "RequestBodyTooLarge")

    def headers_of(self, answer: BlobAnswer, content: bytes) -> Mapping[str, str]:
        """With the length of the body, which a HEAD is told too."""
        return {"Content-Length": str(len(content)), "x-ms-version": "2025-07-05", **answer.headers}

    def _put(self, state: ObjectState, container: str, name: str, body: bytes) -> BlobAnswer:
        headers = self.lowered()
        until = parsedate_to_datetime(headers[UNTIL]) if UNTIL in headers else None
        held = HeldObject(body, datetime.now(UTC).replace(microsecond=0), until, headers.get(MODE, ""))
        if headers.get("if-none-match") != "*":
            return refused(HTTPStatus.NOT_IMPLEMENTED, "NotImplemented")
        if not state.put(container, name, held):
            return refused(HTTPStatus.CONFLICT, "BlobAlreadyExists")
        return BlobAnswer(HTTPStatus.CREATED, headers=described(held))

    def _read(self, state: ObjectState, container: str, name: str) -> BlobAnswer:
        held = state.buckets[container].get(name)
        if held is None:
            return refused(HTTPStatus.NOT_FOUND, "BlobNotFound")
        headers = {**described(held), "x-ms-blob-type": "BlockBlob", "Content-Type": "application/octet-stream"}
        size = len(held.content)
        if self.command == "HEAD":
            return BlobAnswer(HTTPStatus.OK, b"", {**headers, "Content-Length": str(size)})
        begin, _, end = self.lowered().get("x-ms-range", "bytes=0-").removeprefix("bytes=").partition("-")
        last = min(int(end) if end else size, size - 1)
        span = {"Content-Range": f"bytes {begin}-{last}/{size}"}
        return BlobAnswer(HTTPStatus.PARTIAL_CONTENT, held.content[int(begin) : last + 1], {**headers, **span})

    def _remove(self, state: ObjectState, container: str, name: str) -> BlobAnswer:
        match state.remove(container, name):
            case None:
                return refused(HTTPStatus.NOT_FOUND, "BlobNotFound")
            case False:
                return refused(HTTPStatus.CONFLICT, "BlobImmutableDueToPolicy")
            case _:
                return BlobAnswer(HTTPStatus.ACCEPTED)

    def _list(self, state: ObjectState, container: str) -> BlobAnswer:
        query = self.query()
        page, marker = state.page(container, query.get("prefix", ""), query.get("marker", ""))
        blobs = "".join(listed(name, held) for name, held in page)
        body = (
            f'<?xml version="1.0" encoding="utf-8"?><EnumerationResults ContainerName="{escape(container)}">'
            f"<Blobs>{blobs}</Blobs><NextMarker>{escape(marker)}</NextMarker></EnumerationResults>"
        )
        return BlobAnswer(HTTPStatus.OK, body.encode(), {"Content-Type": "application/xml"})

    do_HEAD = Handler.serve  # noqa: N815 (the name that http.server looks for)


def described(held: HeldObject) -> dict[str, str]:
    """A blob's properties as headers."""
    lock = {UNTIL: format_datetime(held.locked_until, usegmt=True), MODE: held.mode} if held.locked_until else {}
    return {"Last-Modified": format_datetime(held.changed_at, usegmt=True), "ETag": f'"{hash(held.content):x}"', **lock}


def listed(name: str, held: HeldObject) -> str:
    """The same in a listing."""
    lock = ""
    if held.locked_until:
        until = format_datetime(held.locked_until, usegmt=True)
        lock = f"<ImmutabilityPolicyUntilDate>{until}</ImmutabilityPolicyUntilDate>"
        lock += f"<ImmutabilityPolicyMode>{held.mode}</ImmutabilityPolicyMode>"
    changed = format_datetime(held.changed_at, usegmt=True)
    return (
        f"<Blob><Name>{escape(name)}</Name><Properties><Last-Modified>{changed}</Last-Modified>"
        f"<Content-Length>{len(held.content)}</Content-Length><BlobType>BlockBlob</BlobType>{lock}"
        "</Properties></Blob>"
    )


class AzureBlobServer(HttpServer[ObjectState]):
    """Serves one account."""

    program = "azure-blob"
    handler = AzureBlobHandler
