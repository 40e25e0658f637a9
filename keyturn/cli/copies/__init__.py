"""Commands for copies: plan, apply, follow and scan."""
