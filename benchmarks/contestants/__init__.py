"""The same model and training step in this project, in plain torch and in other libraries, one file each."""
