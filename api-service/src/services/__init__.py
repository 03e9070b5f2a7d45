"""What the API does; the only SQL and the only pika in it."""
