"""Frozen values that every room passes around. Standard library only; nothing of ours is imported from elsewhere."""
