"""One objective per file; the file name is what ``pretrain.method`` calls it."""
