"""Which accesses are unlike what their principal does: scored as they come, in bounded memory, and grouped to alerts.

Nothing is read or written here, and no clock is asked: time is that of the events.
"""
