"""The offline stand-in: pictures, videos and words with no key and no network.

A pure function of its input: the same pictures, prompt, settings and seed give the same bytes. It is no model and
does not pretend to be one; it shows a product on a fitting background so that everything around it can be tried.
"""
