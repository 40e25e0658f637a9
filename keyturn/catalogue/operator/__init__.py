"""The operator's file: what it may contain, section by section."""
