"""Commands for keys: managed keys, and the keys that Keyturn itself uses."""
