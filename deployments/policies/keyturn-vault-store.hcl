# What a Keyturn worker may do in a second Vault or OpenBao that is a store (kind `vault`). Replace `secret` by the
# store's mount. It can neither destroy versions nor remove a secret with its history.

# The copies: write new versions, read them for a deep check.
path "secret/data/*" {
  capabilities = ["create", "read", "update"]
}
# Whose a copy is and which version it serves, told and listed without values. Of the settings of a secret it changes
# the custom metadata alone: not how many versions are kept or how long.
path "secret/metadata/*" {
  capabilities = ["create", "read", "update", "patch", "list"]
  allowed_parameters = {
    "custom_metadata" = []
  }
}
# OpenBao alone: the same for a thousand secrets in one answer. Vault has no such path, and needs no such rule.
path "secret/detailed-metadata/*" {
  capabilities = ["list"]
}
# Deleting, which undelete takes back.
path "secret/delete/*" {
  capabilities = ["update"]
}
