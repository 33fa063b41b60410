"""
Optimisers side by side
=======================

Five update rules, the same network, the same initial weights and the same order of samples.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits

import chainrule as cr

X, y = load_digits(return_X_y=True)
X = X / 16

rules = {
    "gradient descent": cr.GradientDescent(0.1),
    "with momentum": cr.GradientDescent(0.1, momentum=0.9),
    "AdaGrad": cr.AdaGrad(0.02),
    "RMSProp": cr.RMSProp(0.001),
    "Adam": cr.Adam(0.003),
}
figure, axes = plt.subplots()
for name, optimizer in rules.items():
    net = cr.Network([64, 32, 10], hidden="tanh", output="softmax", loss="cross_entropy", seed=0)
    history = net.fit(X, y, optimizer=optimizer, epochs=30, verbose=0)
    axes.semilogy(history.epoch, history.loss, label=name)
axes.set_xlabel("epoch")
axes.set_ylabel("training loss")
axes.legend()
plt.show()
