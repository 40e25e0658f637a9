# What a Keyturn worker may do in a second Vault or OpenBao that is a store (kind `vault`). It can neither destroy
# versions nor remove a secret with its history.
# Made by keyturn setup store everything

# Its own token: look up its lifetime and rights, and renew it. The policy `default` allows it too.
path "auth/token/lookup-self" {
  capabilities = ["read"]
}
path "auth/token/renew-self" {
  capabilities = ["update"]
}
path "sys/capabilities-self" {
  capabilities = ["update"]
}

# The copies: write new versions, read them to compare.
path "secret/data/*" {
  capabilities = ["create", "read", "update"]
}

# Whose a copy is and which version it serves. Of the settings of a secret the custom metadata alone are changed: not
# how many versions are kept or how long.
path "secret/metadata/*" {
  capabilities = ["create", "read", "update", "patch", "list"]
  allowed_parameters = {
    "custom_metadata" = []
  }
}

# What there is, by names and metadata, without values. OpenBao lists a thousand secrets in one answer of detailed-
# metadata; Vault has no such path, and each secret's metadata is read there.
path "secret/detailed-metadata/*" {
  capabilities = ["list"]
}

# Deleting, which undelete takes back.
path "secret/delete/*" {
  capabilities = ["update"]
}
