"""Commands for single secrets: status, due, rotate, rollback, history and repair."""
