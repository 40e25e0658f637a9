# For emergencies, besides keyturn-vault-store.hcl: what takes old versions and whole copies away for good. Replace
# `secret` by the store's mount.
path "secret/destroy/*" {
  capabilities = ["update"]
}
path "secret/metadata/*" {
  capabilities = ["delete"]
}
