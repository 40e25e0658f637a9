"""Commands for sharing with other organisations, and for offboarding."""
