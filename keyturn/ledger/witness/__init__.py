"""Witnesses: cosigning checkpoints, and requesting cosignatures."""
