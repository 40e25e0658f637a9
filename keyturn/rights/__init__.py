"""What each login may do, rendered as policies, and the set-up of the hub."""
