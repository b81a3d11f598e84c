"""Transformer language models: the network, its vocabulary, and scoring (section 4.4 of the paper)."""
