"""How entries are stored: durable files, group commit, tiles, and entries that wait to be written."""
