"""A sync of many copies, spread over processes."""
