"""The runbooks: one flow a file, each a chain of tasks that reads from top to bottom."""
