"""Feedback types: losses over the same few numbers."""
