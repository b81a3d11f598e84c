"""The Transformer language model (section 4.4)."""
