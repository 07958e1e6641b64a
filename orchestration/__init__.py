"""The cluster: Ray Data jobs, Ray Train fits, MLflow tracking and reports."""

import os

# MLflow reads them when it is imported, or at every request
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # ours keeps what failed and tries again later
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")  # of a server that is there and does not answer
