"""fairseq2's and omnilingual's checkpoints, read and written."""
