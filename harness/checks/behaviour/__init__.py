"""What an implementation does where libraries differ: measured, and compared with what it declares."""
