"""Filling the paper's tables: an ordinary training in a folder for each group of cells, then its evaluation."""
