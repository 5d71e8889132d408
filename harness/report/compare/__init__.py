"""Two runs, and what changed between them."""
