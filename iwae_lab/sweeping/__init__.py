"""Sweeps: every combination of estimators, k, seeds and models, each an experiment of one engine."""
