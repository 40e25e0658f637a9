"""Commands for programs that use secrets: agent, exec and render."""
