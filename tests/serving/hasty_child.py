"""`keyturn` in a process of its own, in which leases are renewed and lapse in fractions of a second."""

from keyturn.cli.app import app
from keyturn.serving import leases, parts, supervisor

HASTE = ((supervisor, "RENEW", 0.2), (supervisor, "WATCH", 0.1), (leases, "LAPSE", 4.0), (parts, "SAFE", 3.0))


def main() -> None:
    """Run the command that it is told."""
    for module, name, seconds in HASTE:
        assert hasattr(module, name)
        setattr(module, name, seconds)
    app()


if __name__ == "__main__":
    main()
