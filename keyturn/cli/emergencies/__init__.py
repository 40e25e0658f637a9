"""Commands for leaked credentials: revoke, whois, incidents, approvals and drills."""
