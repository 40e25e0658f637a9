"""Access for a while: who may be given what, who has approved it, and the proof of both."""
