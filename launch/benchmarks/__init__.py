"""Suites of launch.benchmark."""
