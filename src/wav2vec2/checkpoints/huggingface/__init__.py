"""Hugging Face model directories: what `transformers` loads."""
