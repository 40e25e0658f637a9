"""Keeping every copy in step, for many secrets at once: look, plan, apply. It stands on the steps of one rotation."""
