"""Work as a whole, as programs and Python callers ask for it; and extraction, scoring and submission on Ray."""
