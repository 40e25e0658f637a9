"""The whole command line."""

from keyturn.cli.commands import make_app

app = make_app()
