"""What is right and wrong with a machine, an environment and the services around: one module for each kind of thing."""
