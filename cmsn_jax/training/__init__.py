"""State, optimizer, steps, parallelism, checkpoints and the loop."""
