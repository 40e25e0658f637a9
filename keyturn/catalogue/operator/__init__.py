"""The sections of the operator's file."""
