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

rng = np.random.default_rng(2)
x = rng.uniform(-3, 3, size=(120, 1))
y = np.sin(x[:, 0]) + rng.normal(scale=0.3, size=120)

net = cr.Network([1, 64, 64, 1], hidden="tanh", seed=0)
history = net.fit(
    x[:60],
    y[:60],
    optimizer=cr.Adam(0.005),
    epochs=2000,
    batch_size=60,
    validation_data=(x[60:], y[60:]),
    callbacks=[cr.EarlyStopping(patience=300)],
    verbose=0,
)

figure, (left, right) = plt.subplots(1, 2, figsize=(8.4, 3.4))
history.plot(left)
left.set_yscale("log")
grid = np.linspace(-3, 3, 200)[:, None]
right.scatter(x[:60], y[:60], s=12, color="#999999", label="training samples")
right.plot(grid, np.sin(grid), color="#999999", linestyle=":", label="sin x")
right.plot(grid, net.predict(grid), color="#d1550f", label=f"epoch {history.best_epoch}")
right.legend()
plt.show()
print(history.stop_reason)
