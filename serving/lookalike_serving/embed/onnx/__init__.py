"""Provider Onnx: an image model, and if there is one a text model, as ONNX graphs."""
