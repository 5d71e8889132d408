"""The one room that opens run files."""
