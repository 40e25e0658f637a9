# What the token may do that asks the database engine for a lease (strategy vault-dynamic). A lease ends
# with the token that asked for it, so the worker's own short-lived token must not be the one.
path "database/creds/*" {
  capabilities = ["read"]
}
