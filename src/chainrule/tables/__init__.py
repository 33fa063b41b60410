"""Tables: train a model on the named columns of a file, and explain it by their names.

From the file to the network: `source` reads batches of rows, `profile` inspects each column,
`preprocessing` turns columns into the network's inputs with scikit-learn's transformers, `rows`
keeps these on disk while a network trains on them (`training`), and `model` is the result: the
network, its columns and the preprocessing in one file. Needs ``pip install 'chainrule[tables]'``.
"""
