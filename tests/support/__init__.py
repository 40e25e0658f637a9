"""Shared test support: real servers, and stand-ins where a server is not the subject."""
