"""Keeps experiments, runs them, draws and explains them; knows nothing of the page."""

from iwae_lab.shipped.starts import register

__version__ = "0.1.0"  # of the whole program; the package that is built reads it here

register()
