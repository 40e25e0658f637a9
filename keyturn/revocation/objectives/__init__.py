"""Time to dead: how long a revoked credential still works, measured by incidents, drills and rehearsals."""
