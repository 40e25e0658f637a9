"""Gives secrets to any program: in its environment, in files, and in rendered templates."""
