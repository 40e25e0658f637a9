"""OpenTelemetry traces are complete, follow the conventions and contain no value."""

import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SentSpan
from opentelemetry.proto.trace.v1.trace_pb2 import Status
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from keyturn.core.errors import Denied
from keyturn.core.notifications.messages import SignedMessage
from keyturn.core.notifications.notices import NOTICE_PATH
from keyturn.core.ports.tracing import current_span, parse_traceparent, traced, traceparent, traces_wanted, use_tracer
from keyturn.core.schedule.due import Trigger
from keyturn.core.sensitive import Sensitive
from keyturn.providers.http.webhook import WebhookSender
from keyturn.providers.mysql.server import MySQLServer, MySQLSession, ServerError
from keyturn.providers.opentelemetry.traces import OtlpTracer
from keyturn.rotation.run import rotate
from local.mariadb import MariaDB
from tests.rotation.helpers import with_copy
from tests.support.collector import Collector, attributes
from tests.support.lab import Lab

TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture
def collector(httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> Collector:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", httpserver.url_for("").rstrip("/"))
    return Collector(httpserver)


@pytest.fixture
def tracer(collector: Collector) -> Iterator[OtlpTracer]:
    made = OtlpTracer()
    use_tracer(made)
    yield made
    use_tracer(None)
    made.close()


@pytest.mark.attack
def test_a_rotation_is_one_trace_of_its_steps_and_calls_and_no_value_is_in_a_byte_of_it(
    lab: Lab, collector: Collector, tracer: OtlpTracer
) -> None:
    secret = with_copy(lab.alternating())
    use_tracer(None)
    opened = lab.open(secret)
    before = lab.current(secret)
    use_tracer(tracer)
    with traced("flow rotate-secret", {"keyturn.secret": secret.path}, trace=TRACE):
        rotate(opened.workspace, secret.path, Trigger.FORCE)
    use_tracer(None)
    tracer.close()
    spans = collector.spans()
    assert {each.trace_id.hex() for each in spans} == {TRACE}
    ids = {each.span_id for each in spans}
    assert [each.name for each in spans if each.parent_span_id not in ids] == ["flow rotate-secret"]
    assert {"rotate", "stage", "install", "verify", "promote", "push"} <= {each.name for each in spans}
    assert attributes(collector.named("install")) == {
        "keyturn.secret": secret.path,
        "keyturn.place": opened.workspace.target(secret.path),
    }
    call = next(each for each in spans if each.kind == SentSpan.SPAN_KIND_CLIENT and each.name in ("GET", "POST"))
    assert attributes(call).keys() == {
        "http.request.method",
        "server.address",
        "server.port",
        "http.response.status_code",
    }
    statement = next(each for each in spans if each.name.startswith("ALTER "))
    assert attributes(statement) == {
        "db.system.name": "postgresql",
        "db.namespace": statement.name.removeprefix("ALTER "),
        "db.operation.name": "ALTER",
        "server.address": lab.world.host,
        "server.port": lab.world.port,
    }
    whole = b"".join(collector.bodies)
    texts = {
        str(value) for fields in (before, lab.current(secret)) for key, value in fields.items() if key == "password"
    }
    assert len(texts) == 2
    for text in texts:
        for spelled in (text.encode(), base64.b64encode(text.encode()), json.dumps(text)[1:-1].encode()):
            assert spelled not in whole


def root(mariadb: MariaDB) -> MySQLSession:
    """A session of its superuser."""
    server = MySQLServer("db", mariadb.host, mariadb.port, "", "disable", None)
    return server.log_in("root", Sensitive(mariadb.superuser_password))


@pytest.mark.attack
def test_mysql_statements_have_one_span_name_and_failures_their_error_number(
    collector: Collector, tracer: OtlpTracer, mariadb: MariaDB
) -> None:
    use_tracer(None)
    admin = root(mariadb)
    use_tracer(tracer)
    with traced("outer"):
        admin.run("ALTER USER IF EXISTS 'nobody'@'%' IDENTIFIED BY 'c4nary'")
        with pytest.raises(ServerError):
            admin.run("SELECT 'c4nary' FROM nowhere.at_all")
    tracer.close()
    admin.close()
    told = {each.name: attributes(each) for each in collector.spans()}
    assert told["ALTER"]["db.system.name"] == "mariadb"
    assert told["SELECT"]["db.response.status_code"] == "1146"
    assert b"c4nary" not in b"".join(collector.bodies)


def test_a_notice_bears_the_trace_on_to_whoever_is_told(
    httpserver: HTTPServer, collector: Collector, tracer: OtlpTracer
) -> None:
    headers: list[str] = []

    def take(request: Request) -> Response:
        headers.append(request.headers.get("traceparent", ""))
        return Response(b"", 200)

    httpserver.expect_request(NOTICE_PATH, method="POST").respond_with_handler(take)
    sender = WebhookSender("app", httpserver.url_for("").rstrip("/"))
    sender.send(SignedMessage({"webhook-id": "1"}, "{}"), 10.0)
    with traced("notify", trace=TRACE):
        sender.send(SignedMessage({"webhook-id": "2"}, "{}"), 10.0)
    sender.close()
    tracer.close()
    assert headers == ["", f"00-{TRACE}-{collector.named('notify').span_id.hex()}-01"]


@pytest.mark.attack
def test_an_error_is_traced_by_its_class_alone(collector: Collector, tracer: OtlpTracer) -> None:
    with pytest.raises(ValueError, match="c4nary"), traced("outer"), traced("inner"):
        raise ValueError("c4nary")
    with pytest.raises(Denied), traced("denied"):
        raise Denied("write", "c4nary", "it is denied", "Ask c4nary")
    tracer.close()
    inner = collector.named("inner")
    assert attributes(inner) == {"error.type": "ValueError"}
    assert inner.status.code == Status.STATUS_CODE_ERROR
    assert not inner.events
    assert inner.parent_span_id == collector.named("outer").span_id
    assert attributes(collector.named("denied")) == {"error.type": "Denied"}
    assert b"c4nary" not in b"".join(collector.bodies)


def test_what_threads_do_in_somebodys_name_is_in_their_trace(collector: Collector, tracer: OtlpTracer) -> None:
    def work() -> None:
        with traced("in a thread"):
            assert current_span()[0] == TRACE

    with traced("whole", trace=TRACE), ThreadPoolExecutor(1) as pool:
        pool.submit(copy_context().run, work).result()
    assert current_span() == ("", "")
    tracer.close()
    assert collector.named("in a thread").parent_span_id == collector.named("whole").span_id


def test_a_run_goes_on_with_the_trace_of_who_asked_and_its_own_id_leads_there(
    collector: Collector, tracer: OtlpTracer
) -> None:
    with traced("ask for rotate-secret"):
        asked = parse_traceparent(traceparent()["traceparent"])
        assert asked == current_span()
    with traced("flow rotate-secret", {"keyturn.run": "1"}, trace=TRACE, parent=asked), traced("stage"):
        pass
    with traced("flow sync", trace=TRACE):
        pass
    tracer.close()
    ask, flow = collector.named("ask for rotate-secret"), collector.named("flow rotate-secret")
    leads = collector.named("flow rotate-secret: asked for elsewhere")
    assert (flow.trace_id, flow.parent_span_id) == (ask.trace_id, ask.span_id)
    assert collector.named("stage").parent_span_id == flow.span_id
    assert (leads.trace_id.hex(), leads.parent_span_id) == (TRACE, b"")
    assert [(link.trace_id, link.span_id) for link in leads.links] == [(ask.trace_id, ask.span_id)]
    assert [(link.trace_id, link.span_id) for link in flow.links] == [(leads.trace_id, leads.span_id)]
    assert attributes(leads) == attributes(flow) == {"keyturn.run": "1"}
    assert collector.named("flow sync").trace_id.hex() == TRACE, "whom nobody asked for has a trace of its own"


@pytest.mark.parametrize(
    "text",
    [
        None,
        1,
        "",
        f"00-{TRACE}-b7ad6b7169203331-00",
        f"00-{TRACE}-b7ad6b7169203331-01\n",
        f"00-{TRACE}-b7ad6b7169203331-01-more",
        f"01-{TRACE}-b7ad6b7169203331-01",
        f"00-{TRACE.upper()}-b7ad6b7169203331-01",
        f"00-{'0' * 32}-b7ad6b7169203331-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[:-1]}\u0661-b7ad6b7169203331-01",
        "hvs.CANARY",
    ],
)
def test_what_is_no_trace_of_ours_is_nobodys(text: object) -> None:
    assert parse_traceparent(text) == ("", "")


def test_without_a_collector_nothing_is_imported_and_nothing_told() -> None:
    assert not traces_wanted({"OTEL_EXPORTER_OTLP_ENDPOINT": ""})
    assert traces_wanted({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://localhost:4318/v1/traces"})
    code = (
        "import sys, keyturn.core.ports.tracing as t, keyturn.rotation.state.journal, keyturn.providers.outbound\n"
        "with t.traced('a') as s: s.set('b', 1)\n"
        "assert t.current_span() == ('', '')\n"
        "assert not [m for m in sys.modules if m.startswith('opentelemetry')]"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
