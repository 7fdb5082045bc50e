"""The book's chapters, one folder each: `from causalnb.chapters import ace`."""
