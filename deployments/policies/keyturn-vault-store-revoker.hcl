# For emergencies, in addition to keyturn-vault-store.hcl: removes old versions and whole copies for good.
# Made by keyturn setup store everything

# Old versions, for good.
path "secret/destroy/*" {
  capabilities = ["update"]
  allowed_parameters = {
    "versions" = []
  }
}

# Whole copies, for good.
path "secret/metadata/*" {
  capabilities = ["delete"]
}
