"""C: the model of a table as one file of C99, from the cells of a row to the prediction."""
