"""Storage of entries: durable files, group commit, tiles and waiting entries."""
