"""
Early stopping
==============

``History.plot`` draws the losses of a run and marks the best epoch. A network that is too large for
forty noisy samples shows why one stops early: the validation loss rises while the training loss
still falls.
"""

import matplotlib.pyplot as plt
import numpy as np

import chainrule as cr

rng = np.random.default_rng(0)
x = rng.uniform(-1, 1, size=(100, 1))
y = np.sin(6 * x[:, 0]) + rng.normal(scale=0.35, size=100)

net = cr.Network([1, 64, 64, 1], hidden="tanh", seed=0)
last = {}


def remember(run):
    """Keep the network of the last epoch, before the best one is put back."""
    if run.epoch == run.epochs:
        last["network"] = run.network.copy()


history = net.fit(
    x[:40],
    y[:40],
    optimizer=cr.Adam(0.003),
    epochs=2500,
    batch_size=40,
    validation_data=(x[40:], y[40:]),
    callbacks=[remember, cr.EarlyStopping(patience=2500)],
    verbose=0,
)

# %%
# ``EarlyStopping`` gives the network the parameters of the best epoch, here with so much patience
# that we see both.

figure, (left, right) = plt.subplots(1, 2, figsize=(8.6, 3.4))
history.plot(left)
left.set_yscale("log")
grid = np.linspace(-1, 1, 200)[:, None]
right.scatter(x[:40], y[:40], s=12, color="#888888", label="training samples")
right.plot(grid, np.sin(6 * grid), color="#888888", linestyle=":", label="sin 6x")
right.plot(grid, net.predict(grid), label=f"epoch {history.best_epoch}")
right.plot(grid, last["network"].predict(grid), linewidth=1.2, label=f"epoch {len(history.epoch)}")
right.legend(fontsize=9, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1))
plt.show()
