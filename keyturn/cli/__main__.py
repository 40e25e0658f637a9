"""``python -m keyturn.cli``, for a process of the same environment that has no PATH to the script."""

from keyturn.cli import program

program()
