"""What runs in the process that holds an implementation, and how that process is spoken to. It knows no judge."""
