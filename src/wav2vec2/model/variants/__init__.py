"""Variants of the model: those that the paper ablates (Table 4, appendices A and F), and those of later models."""
