"""Names and configurations of weight files, in and out: our model directories, Hugging Face's, and fairseq's files."""
