"""Work that a cluster does: extraction, training, evaluation, and programs as submitted jobs."""
