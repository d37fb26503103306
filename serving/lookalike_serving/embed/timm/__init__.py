"""Provider Timm: the features of any timm model, for images alone."""
