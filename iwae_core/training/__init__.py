"""What is asked, the only loop, and what it tells."""
