"""
Which pixels count
==================

A gradient with respect to the *input* says how the loss would change if a pixel were brighter. We
train on handwritten digits and draw ∂C/∂x for the four test images that cost most: red pixels
raise the loss, blue ones lower it.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

import chainrule as cr

X, y = load_digits(return_X_y=True)
X = X / 16
X_train, y_train, X_test, y_test = X[:1400], y[:1400], X[1400:], y[1400:]
net = cr.Network(
    [64, 32, 10], hidden="relu", output="softmax", loss="cross_entropy", dropout=0.1, seed=0
)
net.fit(X_train, y_train, optimizer=cr.Adam(0.003), epochs=40, verbose=0)
print(f"test accuracy {np.mean(net.predict_classes(X_test) == y_test):.3f}")

# %%
# ``delta[1]`` is ∂C/∂z of the first layer; one more factor of the chain rule, W, leads to x.

g = net.gradient(X_test, y_test)
dX = g.delta[1] @ net.layers[1].W
worst = np.argsort(-g.sample_losses)[:4]

figure, panels = plt.subplots(2, 4, figsize=(7, 3.8))
for (above, below), i in zip(panels.T, worst, strict=True):
    above.imshow(X_test[i].reshape(8, 8), cmap="Greys")
    above.set_title(f"{y_test[i]} taken for {net.predict_classes(X_test)[i]}", loc="center")
    limit = abs(dX[i]).max()
    below.imshow(dX[i].reshape(8, 8), vmin=-limit, vmax=limit)
    for axes in (above, below):
        axes.set(xticks=[], yticks=[])
plt.show()

# %%
# The same number, from an explanation:

why = net.explain("x[20]", X_test[worst[0]], y_test[worst[0]])
print(f"{dX[worst[0], 20]:.12f}")
print(f"{why.value:.12f}")
