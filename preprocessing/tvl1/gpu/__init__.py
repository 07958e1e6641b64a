"""TV-L1 for many pairs at once on a GPU. It needs torch, so it is imported only when it is asked for."""
