"""One server that plays any recipe over HTTP: it answers as the recipe's documents say that the service does."""
