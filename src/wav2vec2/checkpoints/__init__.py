"""Models on disk: our directories, Hugging Face's, and the files of fairseq, fairseq2 and torchaudio."""
