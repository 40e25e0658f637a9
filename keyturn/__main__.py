"""``python -m keyturn`` is the command line."""

from keyturn.cli import program

if __name__ == "__main__":
    program()
