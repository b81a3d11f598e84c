"""Curves, pictures and tables of runs and models on one page that needs nothing beside it."""
