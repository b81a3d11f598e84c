"""Text: normal form, symbol table and error rates."""
