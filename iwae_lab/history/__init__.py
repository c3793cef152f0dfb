"""What an experiment has told so far, and how it is read."""
