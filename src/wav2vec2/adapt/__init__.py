"""A recogniser for a language from recordings, some transcripts and a published encoder, by one command."""
