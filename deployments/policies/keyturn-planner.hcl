# What `keyturn setup hub` may do in the hub: look at how it is set up. It changes nothing, and reads no secret.
# Made by `keyturn setup store --everything`: what a catalogue needs that may do everything, for the mounts `secret`,
# `keyturn`, `transit`, `database` and `pki`. Without the option it is narrowed to yours.

# Its own token: look it up and renew it.
path "auth/token/lookup-self" {
  capabilities = ["read"]
}
path "auth/token/renew-self" {
  capabilities = ["update"]
}
path "sys/capabilities-self" {
  capabilities = ["update"]
}
path "identity/entity/id/{{identity.entity.id}}" {
  capabilities = ["read"]
}

# What Keyturn has made in the hub. The identity that sets up the hub writes it.
path "keyturn/data/setup" {
  capabilities = ["read"]
}

# Mounts, auth methods, policies, and what the catalogue has made in them: the hub returns no password with them.
path "sys/mounts" {
  capabilities = ["read"]
}
path "sys/auth" {
  capabilities = ["read"]
}
path "sys/policies/acl/*" {
  capabilities = ["read"]
}
path "auth/token/roles/keyturn-lease" {
  capabilities = ["read"]
}
path "auth/token/roles/keyturn-grant" {
  capabilities = ["read"]
}
path "transit/keys/keyturn-ledger" {
  capabilities = ["read"]
}
path "keyturn/metadata/fingerprint-key" {
  capabilities = ["read"]
}
path "keyturn/metadata/ledger" {
  capabilities = ["read"]
}
path "auth/+/config" {
  capabilities = ["read"]
}
path "auth/+/role/+" {
  capabilities = ["read"]
}
path "+/config/+" {
  capabilities = ["read"]
}
path "+/roles/+" {
  capabilities = ["read"]
}
path "identity/group/name/+" {
  capabilities = ["read"]
}
path "sys/audit" {
  capabilities = ["read", "sudo"]
}
path "sys/config/auditing/request-headers" {
  capabilities = ["read", "sudo"]
}
path "sys/quotas/rate-limit/*" {
  capabilities = ["read"]
}
