"""The demo: a catalogue of drawn products, and a small model trained on them."""
