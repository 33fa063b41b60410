"""
How a boundary forms
====================

Two interleaved moons, and what a small network makes of the plane after 1, 10, 40 and 400 epochs.
A callback copies the network as it trains.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_moons

import chainrule as cr

X, y = make_moons(300, noise=0.2, random_state=0)
net = cr.Network(
    [2, 16, 16, 1], hidden="tanh", output="sigmoid", loss="binary_cross_entropy", seed=1
)
moments = {}


def remember(run):
    """Keep the network of some epochs."""
    if run.epoch in (1, 10, 40, 400):
        moments[run.epoch] = run.network.copy()


net.fit(X, y, optimizer=cr.Adam(0.01), epochs=400, callbacks=[remember], verbose=0)

# %%
# Each copy predicts the probability of class 1 on a grid.

x0, x1 = np.meshgrid(np.linspace(-1.8, 2.8, 120), np.linspace(-1.2, 1.7, 90))
grid = np.column_stack([x0.ravel(), x1.ravel()])

figure, panels = plt.subplots(1, 4, figsize=(9, 2.4), sharex=True, sharey=True)
for axes, (epoch, then) in zip(panels, moments.items(), strict=True):
    p = then.predict(grid).reshape(x0.shape)
    axes.contourf(x0, x1, p, levels=np.linspace(0, 1, 11), alpha=0.75)
    axes.contour(x0, x1, p, levels=[0.5], colors="#222222", linewidths=1.2)
    axes.scatter(*X[y == 0].T, s=5, color="#1c4f80")
    axes.scatter(*X[y == 1].T, s=5, color="#8f2f00")
    axes.set_title(f"epoch {epoch}: loss {then.loss_value(X, y):.3f}", fontsize=9.5)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
plt.show()
