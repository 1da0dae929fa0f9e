"""Replicate: predictions over HTTP."""
