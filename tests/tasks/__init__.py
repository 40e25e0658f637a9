"""The one decorator of all tasks."""
