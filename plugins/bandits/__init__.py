"""Bandits: which adapter answers."""
