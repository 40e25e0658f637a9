"""Pushing CURRENT to every destination, and what each store shows of a copy."""
