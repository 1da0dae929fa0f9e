"""Small servers that speak a vendor's wire format, and do what a test tells them."""
