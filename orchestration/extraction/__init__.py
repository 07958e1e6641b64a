"""The tasks of an extraction: what one makes, where they run, and how long flow will take them."""
