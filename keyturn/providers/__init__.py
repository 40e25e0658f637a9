"""One module per outside system: the only place that imports an SDK."""
