"""Tables: a model that is trained on named columns, and speaks of them by their names.

From the file down to the network: `source` reads batches of rows, `profile` looks at every column,
`preprocessing` turns columns into the network's inputs by scikit-learn's own preprocessing, `rows`
keeps these on disk while a network trains on them (`training`), and `model` is what comes out: the
network, the columns and the preprocessing in one file. Needs ``pip install 'chainrule[tables]'``.
"""
