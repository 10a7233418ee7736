"""The history of the schema, applied by `backend.store.session.open_store`."""
