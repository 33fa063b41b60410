"""The report of a model of a table: one page, of the data, the quality and what was learned."""
