"""Measurements of speed. Part of a clone of the repository, not of the installed program."""
