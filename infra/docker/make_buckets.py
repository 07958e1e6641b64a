"""Make buckets in an S3 store, as soon as it answers; those that are there stay as they are.

python make_buckets.py BUCKET...

Where the store is, and with which keys, boto3 takes from the environment (AWS_ENDPOINT_URL_S3 and so on).
"""

import sys

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError


def main(buckets: list[str]) -> None:
    """Make each bucket that is not there."""
    client = boto3.client("s3", config=Config(retries={"max_attempts": 10, "mode": "standard"}))
    for bucket in buckets:
        try:
            client.create_bucket(Bucket=bucket)
        except ClientError as error:
            if error.response["Error"]["Code"] not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
                raise


if __name__ == "__main__":
    main(sys.argv[1:])
