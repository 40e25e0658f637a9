"""Score accesses that are unusual for their principal as they arrive, and group them into alerts.

Memory is limited, and there is no I/O and no clock but the events' times.
"""
