"""One module per adapter, each against a real server or an emulator of it."""
