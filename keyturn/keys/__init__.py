"""Managed keys in other engines, certificate authorities, and Keyturn's own keys and logins."""
