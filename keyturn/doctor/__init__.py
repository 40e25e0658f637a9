"""Whether an installation can do its work: each right, place and process that it needs, looked at without a change."""
