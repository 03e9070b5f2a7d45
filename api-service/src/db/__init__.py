"""The database: its engine, its dialects, its transactions."""
