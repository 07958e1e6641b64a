"""Optimizers, one file each. The file's name is the optimizer's; whatever lies here is found."""
