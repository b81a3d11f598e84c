"""Export to ONNX and torch.export files, which are compared with the model before they are kept."""
