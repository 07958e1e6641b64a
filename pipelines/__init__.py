"""Programs: one file is one job. ``kinebert --help`` lists them."""
