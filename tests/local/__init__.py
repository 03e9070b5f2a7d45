"""What the tests and the demo need on a developer's own machine."""
