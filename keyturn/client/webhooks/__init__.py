"""Receives notices: signatures, replay protection, and what each notice invalidates."""
