"""Error rates of finished stages, and the paper's tables beside ours."""
