"""Commands for a running installation: doctor, explain, serve and version."""
