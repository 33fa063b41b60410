"""The derivative of the loss with respect to one weight of the output layer, as it is taught.

Six units feed four outputs; the weight is the one from unit 2 of layer L-1 to unit 1 of layer L.
The notation is that of the lesson: C₀ for the loss of the first sample, a for activations, indices
from 0, layers L and L-1, g for an activation function whatever it is.
"""

import chainrule as cr

net = cr.Network(
    [3, 6, 4], hidden="sigmoid", output="sigmoid", loss="squared_error", biases=False, seed=4
)
X = [[-1.1, 0.5, -0.2], [0.3, -0.9, 0.1], [0.8, 0.4, -0.6]]
y = [[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]]

print(net.explain("w[2][1,2]", X, y, notation="C-a-L"))
