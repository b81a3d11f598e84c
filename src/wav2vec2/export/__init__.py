"""The command ``wav2vec2 export``: ONNX and torch.export files, compared with the model before they are kept."""
