"""Language models: n-grams and Transformers over words or characters (section 4.4 of the paper)."""
