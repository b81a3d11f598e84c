"""Tables of tensors in safetensors and torch.save files, read without running code from them."""
