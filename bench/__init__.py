"""Measurements, as ratios of interleaved runs. Nothing here passes or fails."""
