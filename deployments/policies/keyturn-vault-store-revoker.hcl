# For emergencies, besides keyturn-vault-store.hcl: what takes old versions and whole copies away for good.
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
