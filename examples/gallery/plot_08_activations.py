"""
Activations and their derivatives
=================================

The activations that act on each unit by itself, g in blue and g′ in orange. Where g′ jumps, the
slope that is taken is PyTorch's; a certificate says "kink" there.
"""

import matplotlib.pyplot as plt
import numpy as np

import chainrule as cr

names = ["identity", "sigmoid", "tanh", "relu", "leaky_relu", "elu", "gelu", "silu", "softplus"]
z = np.linspace(-4, 4, 401)

figure, panels = plt.subplots(3, 3, figsize=(8, 5.4), sharex=True, sharey=True)
for axes, name in zip(panels.flat, names, strict=True):
    g = cr.Network([1, 1], output=name).layers[1].activation
    a = g.value(z)
    axes.axhline(0, color="#bbbbbb", linewidth=0.8)
    axes.plot(z, a)
    axes.plot(z, g.derivative(z, a))
    axes.set_title(name)
    axes.set_ylim(-1.4, 2.4)
plt.show()
