"""safelight: the backend for generative-media products."""

__version__ = "0.1.0"
