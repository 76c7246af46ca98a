"""Measurements as ratios within one run: machines are noisy; only what ran side by side compares."""
