"""The tables as the API maps them."""
