"""Draft a catalogue from the hub, the stores and the targets, and match copies."""
