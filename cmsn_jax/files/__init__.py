"""What lies on disk, read and checked: features, proposals, stages, JSON, CSV."""
