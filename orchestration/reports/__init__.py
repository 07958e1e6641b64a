"""What people look at after an evaluation: tables, figures, pages and annotated videos."""
