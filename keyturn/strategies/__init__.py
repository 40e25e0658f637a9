"""How each kind of credential is replaced, written against ports; ``keyturn.providers`` has the servers."""
