"""The derivative of the loss with respect to w₂ in a chain of single units, and its update.

The notation is that of the lesson: h for activations, L = ½ (y - h₂)², indices from 1, and brackets
around what is left of each term.
"""

import chainrule as cr

net = cr.Network(
    [1, 1, 1],
    hidden="tanh",
    output="tanh",
    loss="half_squared_error",
    W=[[[0.6]], [[-0.4]]],
    b=[[0.1], [0.2]],
)

print(net.explain("w[2][0,0]", [0.5], [0.7], learning_rate=0.1, notation="L-h"))
