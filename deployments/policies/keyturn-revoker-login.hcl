# What lets the AppRole keyturn-revoker replace its own secret id. Give it to no other login, and to a role alone that
# is bound to addresses (secret_id_bound_cidrs, token_bound_cidrs) and whose secret ids end by themselves
# (secret_id_ttl).
# Made by `keyturn setup store --everything`: what a catalogue needs that may do everything, for the mounts `secret`,
# `keyturn`, `transit`, `database` and `pki`. Without the option it is narrowed to yours.

# Its own role, and the secret ids of that: which they are, a new one, and the end of an old one. A new one has the
# role's own life and addresses, since no request may say others.
path "auth/approle/role/keyturn-revoker" {
  capabilities = ["read"]
}
path "auth/approle/role/keyturn-revoker/secret-id" {
  capabilities = ["update", "list"]
  allowed_parameters = {
    "metadata" = []
  }
}
path "auth/approle/role/keyturn-revoker/secret-id/" {
  capabilities = ["list"]
}
path "auth/approle/role/keyturn-revoker/secret-id/lookup" {
  capabilities = ["update"]
  allowed_parameters = {
    "secret_id" = []
  }
}
path "auth/approle/role/keyturn-revoker/secret-id-accessor/lookup" {
  capabilities = ["update"]
  allowed_parameters = {
    "secret_id_accessor" = []
  }
}
path "auth/approle/role/keyturn-revoker/secret-id-accessor/destroy" {
  capabilities = ["update"]
  allowed_parameters = {
    "secret_id_accessor" = []
  }
}
