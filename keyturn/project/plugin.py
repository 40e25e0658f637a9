"""Keyturn's plugin for Prefect, which imports nothing without Keyturn's variables."""

import os

if any(name.startswith("KEYTURN_SETUP_") for name in os.environ):
    from keyturn.project.parts import load_part

    setup_environment = load_part("blocks.setup_environment").setup_environment
