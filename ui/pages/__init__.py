"""One module for each page, and what belongs to one."""
