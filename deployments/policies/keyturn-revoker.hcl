# What whoever revokes in an emergency may do in the hub besides a worker: give it both policies, and this one to nobody
# else. Replace `secret` by your mount.

# Look at what was deleted, since the credential in it may live, and remove the values of old versions for good.
path "secret/undelete/*" {
  capabilities = ["update"]
}
path "secret/destroy/*" {
  capabilities = ["update"]
}

# See before anything is changed whether all of it is allowed.
path "sys/capabilities-self" {
  capabilities = ["update"]
}

# Find and end leases below any prefix, whichever engine gave them.
path "sys/leases/lookup/*" {
  capabilities = ["list", "sudo"]
}
path "sys/leases/revoke" {
  capabilities = ["update"]
}
