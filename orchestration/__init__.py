"""The cluster: Ray Data jobs, Ray Train fits, MLflow tracking and reports."""
