"""A run's folder: whose it is, its lock, its results."""
