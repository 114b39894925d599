"""A run's folder: lock, config, checkpoints; a trained run."""
