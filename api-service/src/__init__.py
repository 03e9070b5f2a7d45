"""The API service: takes tasks, stores them, relays them to the broker."""
