"""Credits: prices, amounts, and orders of the shop."""
