"""Two runs side by side: what became wrong or right, less accurate, slower or larger, and what cannot be compared."""
