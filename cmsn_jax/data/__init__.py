"""Files to arrays: annotations, features, video, input pipelines."""
