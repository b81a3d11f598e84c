"""Reports on runs and models: curves, pictures and tables on one self-contained page."""
