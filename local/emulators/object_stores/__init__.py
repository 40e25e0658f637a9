"""Azure Blob Storage and Google Cloud Storage on one machine, as far as backups need them: objects in memory.

Both keep to what their documentation says of writing where nothing is yet, of objects that are locked, and of listing
page by page. They check no signature and no token.
"""
