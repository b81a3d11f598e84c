"""The paper's experiments, each one command: stages with resume, tables beside the paper's, one report."""
