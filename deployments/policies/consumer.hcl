# What an application may do in the hub: read its own secrets, and nothing else.
path "secret/data/ml-training/*" {
  capabilities = ["read"]
}
