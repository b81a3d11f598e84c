"""Variants of the model that the paper compares (Table 4, appendices A and F)."""
