"""fal: requests in its queue, over HTTP."""
