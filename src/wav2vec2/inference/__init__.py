"""Trained models at work on recordings of any length: text, alignments, features, units."""
