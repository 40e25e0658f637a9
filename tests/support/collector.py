"""A stand-in for an OTLP span collector over HTTP, which returns what it received."""

import gzip
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SentSpan
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response


class Collector:
    """What takes spans, and every byte that came."""

    def __init__(self, server: HTTPServer) -> None:
        self.bodies: list[bytes] = []
        server.expect_request("/v1/traces", method="POST").respond_with_handler(self._take)

    def _take(self, request: Request) -> Response:
        body = request.get_data()
        self.bodies.append(gzip.decompress(body) if request.headers.get("Content-Encoding") == "gzip" else body)
        return Response(b"", 200, content_type="application/x-protobuf")

    def spans(self) -> list[SentSpan]:
        sent = [ExportTraceServiceRequest.FromString(body) for body in self.bodies]
        return [
            each
            for s in sent
            for resource in s.resource_spans
            for scope in resource.scope_spans
            for each in scope.spans
        ]

    def named(self, name: str) -> SentSpan:
        return next(each for each in self.spans() if each.name == name)


def attributes(sent: SentSpan) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value") or "") for each in sent.attributes}
