"""Ground truth from any format, its checks, durations."""
