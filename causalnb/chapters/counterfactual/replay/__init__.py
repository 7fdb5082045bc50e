"""The author's published vectors, read and counted again: what the printed tables come to on them."""
