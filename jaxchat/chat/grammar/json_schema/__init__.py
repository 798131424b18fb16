"""JSON Schema rewritten for the grammar library, keyword by keyword."""
