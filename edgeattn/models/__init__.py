"""Where a model comes from, and where attention is put into it."""
