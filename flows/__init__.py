"""The runbooks: one flow per file, each a chain of tasks in reading order."""
