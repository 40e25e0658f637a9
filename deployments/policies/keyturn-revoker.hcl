# What whoever revokes in an emergency may do in the hub besides a worker: give it both policies, and this one to nobody
# else. Replace `secret` by your mount.

# Look at what was deleted, since the credential in it may live (what a search has looked at is deleted again), and
# remove the values of old versions for good.
path "secret/undelete/*" {
  capabilities = ["update"]
}
path "secret/delete/*" {
  capabilities = ["update"]
}
path "secret/destroy/*" {
  capabilities = ["update"]
}

# The same for each further mount of the catalogue (`mounts:`), such as one at `kv-payments`:
#
# path "kv-payments/undelete/*" {
#   capabilities = ["update"]
# }
# path "kv-payments/delete/*" {
#   capabilities = ["update"]
# }
# path "kv-payments/destroy/*" {
#   capabilities = ["update"]
# }

# See before anything is changed whether all of it is allowed.
path "sys/capabilities-self" {
  capabilities = ["update"]
}

# Find and end leases below any prefix, whichever engine gave them; but for those that are logins, Keyturn's own among
# them, and the hub's.
path "sys/leases/lookup/*" {
  capabilities = ["list", "sudo"]
}
path "sys/leases/lookup/auth/*" {
  capabilities = ["deny"]
}
path "sys/leases/lookup/sys/*" {
  capabilities = ["deny"]
}
path "sys/leases/revoke" {
  capabilities = ["update"]
  denied_parameters = {
    "lease_id" = ["auth/*", "sys/*"]
  }
}

# Find and end the tokens that were made to ask for leases (strategy vault-dynamic), and with them leases that nobody
# knows of any more. Such a token tells the secret that it was made for.
path "auth/token/accessors" {
  capabilities = ["list", "sudo"]
}
path "auth/token/accessors/" {
  capabilities = ["list", "sudo"]
}
path "auth/token/lookup-accessor" {
  capabilities = ["update"]
}
path "auth/token/revoke-accessor" {
  capabilities = ["update"]
}
