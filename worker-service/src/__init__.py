"""The worker service: claims tasks, runs their handlers, records what came of them."""
