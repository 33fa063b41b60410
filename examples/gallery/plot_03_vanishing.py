"""
Gradients that vanish
=====================

The same deep network with four activations, before any training: how large is the gradient in each
layer? Every layer of sigmoids multiplies it by g′(z) ≤ ¼, so that little is left at the first.
"""

import matplotlib.pyplot as plt
import numpy as np

import chainrule as cr

rng = np.random.default_rng(0)
X = rng.normal(size=(256, 20))
y = (X[:, 0] * X[:, 1] > 0).astype(int)

figure, axes = plt.subplots()
for activation in ("sigmoid", "tanh", "relu", "silu"):
    net = cr.Network(
        [20, *[32] * 8, 2], hidden=activation, output="softmax", loss="cross_entropy", seed=0
    )
    norms = [np.linalg.norm(dW) for dW in net.gradient(X, y).dW]
    axes.semilogy(range(1, 10), norms, marker="o", label=activation)
axes.set_xlabel("layer")
axes.set_ylabel("norm of ∂C/∂W")
axes.legend(ncols=4, loc="upper center", bbox_to_anchor=(0.5, 1.15))
plt.show()

# %%
# The explanation of one weight says which factor is to blame:

deep = cr.Network(
    [20, *[32] * 8, 2], hidden="sigmoid", output="softmax", loss="cross_entropy", seed=0
)
why = deep.explain("w[1][0,0]", X[0], y[0])
for term in why.terms:
    print(f"{term.value:+.2e}")
