"""Provider TorchScript: an image model as one file, with its code, such as SSCD's copy models."""
