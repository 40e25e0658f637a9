"""``python -m keyturn.cli``, for a process whose PATH lacks the script."""

from keyturn.cli import program

program()
