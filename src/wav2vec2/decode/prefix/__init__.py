"""Our own prefix beam search."""
