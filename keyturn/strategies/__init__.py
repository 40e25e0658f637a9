"""How each kind of credential is replaced, written against ports; servers stand in ``keyturn.providers``."""
