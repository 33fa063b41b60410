"""
Which samples pull hardest
==========================

The gradient is the mean over samples. How long is each sample's own gradient? Samples with a wrong
label stand out: we exchange five labels of the wine data and find them again.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_wine

import chainrule as cr

X, y = load_wine(return_X_y=True)
Z = (X - X.mean(axis=0)) / X.std(axis=0)
net = cr.Network([13, 16, 3], hidden="tanh", output="softmax", loss="cross_entropy", seed=0)
net.fit(Z, y, epochs=60, verbose=0)

rng = np.random.default_rng(4)
wrong = rng.choice(len(y), 5, replace=False)
labels = y.copy()
labels[wrong] = (labels[wrong] + 1) % 3

# %%
# The norm of a sample's gradient follows from δ and a, without the gradients themselves
# (Goodfellow, arXiv:1510.01799): ‖∂Cᵢ/∂W‖² = ‖δᵢ‖² ‖aᵢ‖².

g = net.gradient(Z, labels)
squares = sum(
    (g.delta[l] ** 2).sum(axis=1) * ((g.forward.a[l - 1] ** 2).sum(axis=1) + 1) for l in (1, 2)
)
norms = np.sqrt(squares)

figure, axes = plt.subplots()
axes.vlines(range(len(y)), 0, norms, color="#999999", linewidth=1)
axes.plot(wrong, norms[wrong], "o", color="#d1550f", label="wrong label")
axes.set_xlabel("sample")
axes.set_ylabel("norm of its gradient")
axes.legend()
plt.show()

print(sorted(np.argsort(-norms)[:5].tolist()), sorted(wrong.tolist()))
