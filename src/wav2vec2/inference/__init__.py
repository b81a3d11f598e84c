"""Running a trained model on audio: transcription, alignment, features and units."""
