"""OpenAI by its official SDK: words and eyes (scans, readers, feedback), and base images."""
