"""The dashboard in a real browser, over a real API and worker."""
