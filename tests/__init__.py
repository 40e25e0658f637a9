"""Tests, laid out as the source is; ``contracts`` holds one suite per port."""
