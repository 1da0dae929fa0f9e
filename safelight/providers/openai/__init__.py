"""OpenAI through its official SDK: text steps (scans, readers, feedback) and stills."""
