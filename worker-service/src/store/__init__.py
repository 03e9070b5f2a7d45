"""The only SQL of the worker."""
