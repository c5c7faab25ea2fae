"""Sources of images, splits, and the pixel range."""
