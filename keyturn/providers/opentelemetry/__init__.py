"""OpenTelemetry, which collects metrics."""
