"""Fine-tunes the encoder predictor; importing this package loads nothing heavy."""
