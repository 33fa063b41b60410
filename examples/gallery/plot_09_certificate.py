"""
How small should a step be?
===========================

A derivative can be checked with a difference quotient, but with which step h? Too large, and the
curvature spoils it; too small, and rounding does. A certificate chooses a step for each sample;
this picture shows what it chooses from, beside the naive forward difference.
"""

import matplotlib.pyplot as plt
import numpy as np

import chainrule as cr

X, y = [[0.9, -1.2], [0.4, 0.7]], [-0.4, 0.3]
net = cr.Network([2, 8, 1], hidden="tanh", output="tanh", seed=0)
exact = net.gradient(X, y).dW[1][3, 0]


def loss(shift):
    """Return the loss with one weight shifted."""
    twin = net.copy()
    twin.layers[1].W[3, 0] += shift
    return twin.loss_value(X, y)


steps = 10.0 ** np.arange(-13, 0.01, 0.1)
forward = [(loss(h) - loss(0)) / h for h in steps]
central = [(loss(h) - loss(-h)) / (2 * h) for h in steps]
fourth = [(8 * (loss(h) - loss(-h)) - (loss(2 * h) - loss(-2 * h))) / (12 * h) for h in steps]

figure, axes = plt.subplots()
for name, quotient in (("forward", forward), ("central", central), ("4th order", fourth)):
    axes.loglog(steps, np.maximum(np.abs(np.array(quotient) / exact - 1), 1e-17), label=name)
axes.set_xlabel("step h")
axes.set_ylabel("relative error")
axes.legend()
plt.show()

# %%
# The certificate adds a third opinion, good to 30 digits:

print(net.explain("w[1][3,0]", X, y).certificate.text(80))
