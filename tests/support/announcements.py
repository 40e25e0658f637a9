"""Whom announcements reach in a test."""

import warnings

import apprise


def load_apprise() -> None:
    """Let Apprise look for its plugins once, past the warning that it looks for a module that is on its way out."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "'imghdr' is deprecated", DeprecationWarning)
        apprise.Apprise.instantiate("json://127.0.0.1/")
