"""fairseq's checkpoints, read and written."""
