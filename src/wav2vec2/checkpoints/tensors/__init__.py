"""Named tensors in files: safetensors and torch.save files, read without running code."""
