"""Google Cloud Storage over its JSON API. Source: "Cloud Storage JSON API", Objects, and "Object Retention Lock"."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.parser import BytesParser
from email.policy import HTTP
from http import HTTPStatus
from typing import Any, ClassVar

from local.emulators.http_server import Handler, HttpServer
from local.emulators.object_stores.state import HeldObject, ObjectState


@dataclass(frozen=True)
class GcsAnswer:
    """What is answered: JSON, or an object's bytes."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    def content(self) -> bytes:
        return self.body


def in_json(status: HTTPStatus, data: Mapping[str, Any]) -> GcsAnswer:
    """As the service answers."""
    return GcsAnswer(status, json.dumps(data).encode(), {"Content-Type": "application/json"})


def refused(status: HTTPStatus, reason: str) -> GcsAnswer:
    """An error in its shape."""
    return in_json(status, {"error": {"code": status, "message": reason, "errors": [{"reason": reason}]}})


class GcsHandler(Handler):
    """Answers the calls of one connection."""

    max_body: ClassVar[int] = 64 << 20

    def answer(self, body: bytes) -> GcsAnswer:
        """One call, on a bucket or an object."""
        state: ObjectState = self.server.emulator  # type: ignore[attr-defined]
        parts = self.parts()
        bucket, *path = parts[parts.index("b") + 1 :]
        if bucket not in state.buckets:
            return refused(HTTPStatus.NOT_FOUND, "notFound")
        if parts[0] == "upload":
            return self._put(state, bucket, body)
        if path == ["o"]:
            return self._list(state, bucket)
        name = "/".join(path[1:])
        if self.command == "DELETE":
            return self._remove(state, bucket, name)
        held = state.buckets[bucket].get(name)
        if held is None:
            return refused(HTTPStatus.NOT_FOUND, "notFound")
        if self.query().get("alt") == "media":
            return GcsAnswer(HTTPStatus.OK, held.content, {"Content-Type": "application/octet-stream"})
        return in_json(HTTPStatus.OK, resource(bucket, name, held))

    def refusal(self) -> GcsAnswer:
        """A body that is too long."""
        return refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "uploadTooLarge")

    def headers_of(self, answer: GcsAnswer, content: bytes) -> Mapping[str, str]:
        """With the length of the body."""
        return {"Content-Length": str(len(content)), **answer.headers}

    def _put(self, state: ObjectState, bucket: str, body: bytes) -> GcsAnswer:
        """An upload in two parts: what the object is called, and its bytes."""
        if self.query().get("ifGenerationMatch") != "0":
            return refused(HTTPStatus.NOT_IMPLEMENTED, "notImplemented")
        kind = self.lowered()["content-type"]
        message = BytesParser(policy=HTTP).parsebytes(f"Content-Type: {kind}\r\n\r\n".encode() + body)
        first = next(iter(message.iter_parts()))
        metadata = json.loads(str(first.get_payload()))
        retention = metadata.get("retention") or {}
        until = retention.get("retainUntilTime")
        held = HeldObject(
            uploaded(kind, body),
            datetime.now(UTC),
            datetime.fromisoformat(until) if until else None,
            retention.get("mode", ""),
        )
        name = metadata.get("name") or self.query()["name"]
        if not state.put(bucket, name, held):
            return refused(HTTPStatus.PRECONDITION_FAILED, "conditionNotMet")
        return in_json(HTTPStatus.OK, resource(bucket, name, held))

    def _remove(self, state: ObjectState, bucket: str, name: str) -> GcsAnswer:
        match state.remove(bucket, name):
            case None:
                return refused(HTTPStatus.NOT_FOUND, "notFound")
            case False:
                return refused(HTTPStatus.FORBIDDEN, "retentionPolicyNotMet")
            case _:
                return GcsAnswer(HTTPStatus.NO_CONTENT)

    def _list(self, state: ObjectState, bucket: str) -> GcsAnswer:
        query = self.query()
        page, token = state.page(bucket, query.get("prefix", ""), query.get("pageToken", ""))
        items = {"items": [resource(bucket, name, held) for name, held in page]}
        return in_json(HTTPStatus.OK, items | ({"nextPageToken": token} if token else {}))


def uploaded(kind: str, body: bytes) -> bytes:
    """The bytes of the second part, as they were sent: a parser of mail would mend their line ends."""
    boundary = b"--" + kind.partition("boundary=")[2].strip('"').encode()
    second = body.split(boundary)[2]
    return second[second.index(b"\r\n\r\n") + 4 :].removesuffix(b"\r\n")


def resource(bucket: str, name: str, held: HeldObject) -> dict[str, Any]:
    """An object as the service tells of it."""
    data: dict[str, Any] = {"kind": "storage#object", "bucket": bucket, "name": name, "generation": "1"}
    data |= {"size": str(len(held.content)), "updated": held.changed_at.isoformat().replace("+00:00", "Z")}
    if held.locked_until:
        data["retention"] = {"mode": held.mode, "retainUntilTime": held.locked_until.isoformat().replace("+00:00", "Z")}
    return data


class GcsServer(HttpServer[ObjectState]):
    """Serves one project."""

    program = "gcs"
    handler = GcsHandler
