"""Bounds: log-weights `[k, batch]` in, a value for each datum out."""
