"""Many videos → many workers: dealt out, tried again, gathered."""
