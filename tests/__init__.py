"""Tests of the whole system, and the local stack that they and ./dev start run."""
