"""Results as values and as files."""
