"""An extractor learns to classify clips."""
