"""Pipelines of named, resumable stages, each a command that can also be run by hand."""
