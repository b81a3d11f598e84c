"""Transcripts and alignments, as values and in the formats of files."""
