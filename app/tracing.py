"""Traces by OpenTelemetry: a span for each operation, and one below it for each read that it makes of a database.

Needs the extra ``otel``, so that nothing else imports this module before somebody wants traces. A span says what ran
and how it went, never what for: no document, variable or argument, no SQL, no text of an error. The SDK reads its own
OTEL_ variables (sampler, headers, attributes of the resource); their defaults are those of OpenTelemetry.

Names of attributes: the semantic conventions for database clients and GraphQL servers, and ``storegraph.…`` for what
they do not know.
"""

import asyncio
import threading
from collections.abc import AsyncGenerator, Collection, Generator
from contextlib import asynccontextmanager, contextmanager

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, format_trace_id
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from app.errors import AppError, ErrorCode
from app.metrics import NONE
from app.settings import DatabaseName

FLUSH = 2.0
"""Seconds in the end for what has not been exported yet."""

_OURS = {ErrorCode.INTERNAL, ErrorCode.DATABASE_UNAVAILABLE, ErrorCode.TIMEOUT}  # and not a client's mistake


class Operation:
    """The span of an operation that is being answered."""

    def __init__(self, span: Span) -> None:
        self._span = span
        self.trace_id = format_trace_id(span.get_span_context().trace_id)

    def answered(self, type_: str, name: str | None, executor: str, codes: Collection[ErrorCode]) -> None:
        """Say what it was and how it went. The span gets the name that it has in its document, if any."""
        self._span.set_attributes({"storegraph.executor": executor, "storegraph.codes": sorted(codes)})
        if type_ != NONE:
            self._span.update_name(f"{type_} {name}" if name else type_)
            self._span.set_attribute("graphql.operation.type", type_)
        if name:
            self._span.set_attribute("graphql.operation.name", name)
        if not _OURS.isdisjoint(codes):
            self._span.set_status(Status(StatusCode.ERROR))


class Tracing:
    """Makes spans, and exports them from a thread of its own."""

    def __init__(self, exporter: SpanExporter) -> None:
        resource = Resource.create({"service.name": "storegraph"}).merge(OTELResourceDetector().detect())
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("storegraph")
        self._propagator = TraceContextTextMapPropagator()

    @contextmanager
    def operation(self, traceparent: str | None, tracestate: str | None) -> Generator[Operation]:
        """The span of what the block does, below the one that the request's headers name (W3C Trace Context)."""
        given = {"traceparent": traceparent, "tracestate": tracestate}
        parent = self._propagator.extract({name: value for name, value in given.items() if value is not None})
        # No exception is recorded: its text can repeat a row, a parameter or a password.
        started = self._tracer.start_as_current_span(
            "GraphQL", parent, SpanKind.SERVER, record_exception=False, set_status_on_exception=False
        )
        with started as span:
            try:
                yield Operation(span)
            except Exception:
                span.set_status(Status(StatusCode.ERROR))
                raise

    @contextmanager
    def read(self, database: DatabaseName, table: str | None, keys: int) -> Generator[Span]:
        """The span of one read: its wait for a connection and its statement. ``table`` where it reads a single one."""
        attributes = {"db.system.name": "postgresql", "db.namespace": database, "storegraph.keys": keys}
        if table is not None:
            attributes["db.collection.name"] = table
        span = self._tracer.start_span(f"SELECT {table or database}", kind=SpanKind.CLIENT, attributes=attributes)
        try:
            yield span
        except BaseException as error:
            span.set_status(Status(StatusCode.ERROR))
            span.set_attribute("error.type", error.code if isinstance(error, AppError) else type(error).__name__)
            raise
        finally:
            span.end()

    def close(self) -> None:
        """Export what is left, which can take half a minute where nobody answers."""
        self._provider.shutdown()


def exporter_to(endpoint: str) -> SpanExporter:
    """What sends spans to a collector, as protobuf over HTTP."""
    return OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces")


@asynccontextmanager
async def traced(endpoint: str) -> AsyncGenerator[Tracing]:
    """Traces to the collector at an address, for as long as the block runs and ``FLUSH`` seconds more."""
    tracing = Tracing(exporter_to(endpoint))
    try:
        yield tracing
    finally:
        closing = threading.Thread(target=tracing.close, name="traces", daemon=True)  # the process does not wait for it
        closing.start()
        await asyncio.to_thread(closing.join, FLUSH)
