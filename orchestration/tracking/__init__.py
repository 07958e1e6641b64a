"""What speaks to MLflow: runs, their names, tags and inputs, and models that load by name."""
