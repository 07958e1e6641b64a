"""KineBERT: videos to Parquet shards, recognizers with late temporal modelling, and their orchestration on clusters."""

from kinebert import old_names

old_names.forward()
