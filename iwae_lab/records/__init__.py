"""An experiment on disk."""
