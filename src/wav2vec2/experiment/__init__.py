"""The paper's experiments, one command each: resumable stages, results compared with the paper's, and a report."""
