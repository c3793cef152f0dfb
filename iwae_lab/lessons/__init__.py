"""What the lessons compute: exact numbers, as NumPy arrays and plain floats."""
