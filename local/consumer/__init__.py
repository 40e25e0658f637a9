"""A small application that lives on a rotated credential, to watch that a rotation costs it no query."""
