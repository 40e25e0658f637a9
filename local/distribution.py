"""The package ``keyturn_local`` of the distribution `keyturn-local`: it holds the folder ``local``."""
