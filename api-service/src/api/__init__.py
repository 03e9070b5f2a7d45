"""Routes: HTTP in, HTTP out, and nothing else."""
