"""flashlight's lexicon beam search, which the paper used, on all cores."""
