"""Keeps experiments, runs them, draws and explains them; knows nothing of the page."""
