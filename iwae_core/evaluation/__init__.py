"""Measuring a model, which is only read."""
