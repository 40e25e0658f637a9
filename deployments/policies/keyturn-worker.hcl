# What a Keyturn worker may do in the hub. Replace `secret`, `keyturn` and `database` by your mounts.

# The secrets themselves: read them, promote new versions, and keep rotation state in their metadata.
path "secret/data/*" {
  capabilities = ["create", "read", "update"]
}
path "secret/metadata/*" {
  capabilities = ["read", "list", "patch"]
}

# Keyturn's own state: candidates, admin credentials, signing keys. Nobody else may read this mount.
path "keyturn/data/*" {
  capabilities = ["create", "read", "update"]
}
path "keyturn/metadata/*" {
  capabilities = ["create", "read", "update", "list"]
}

# Only for the strategy vault-dynamic: tokens that ask for leases (keyturn-lease.hcl), seeing leases, ending them.
path "auth/token/create/keyturn-lease" {
  capabilities = ["create", "update"]
}
path "sys/leases/lookup/database/creds/*" {
  capabilities = ["list", "sudo"]
}
path "sys/leases/revoke" {
  capabilities = ["update"]
}
