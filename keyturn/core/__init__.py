"""The pure core: no I/O, no SDK, no clock. Time, keys and adapters are passed in."""
