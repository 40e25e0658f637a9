# What the tokens may do in the hub that a worker makes to ask for leases.
# Made by `keyturn setup store --everything`: what a catalogue needs that may do everything, for the mounts `secret`,
# `keyturn`, `transit`, `database` and `pki`. Without the option it is narrowed to yours.

# A lease ends with the token that asked for it (strategy vault-dynamic), so the worker's own short-lived token must
# not be the one.
path "database/creds/*" {
  capabilities = ["read"]
}
path "auth/token/lookup-self" {
  capabilities = ["read"]
}
path "auth/token/revoke-self" {
  capabilities = ["update"]
}
