"""Keep every copy of many secrets in sync: observe, plan, apply."""
