"""Small faults put into the core one at a time: which would its tests notice?

`python -m tools.mutation iwae_core/bounds iwae_core/data/dataset.py` mutates these files, says what no test noticed and
writes the score; called again it goes on where it stopped. It takes hours, so it is no part of `make test`.
"""
