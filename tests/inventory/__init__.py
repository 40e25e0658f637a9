"""Drafting a catalogue from what exists."""
