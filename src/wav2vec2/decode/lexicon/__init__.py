"""flashlight's lexicon beam search, the paper's, on all cores."""
