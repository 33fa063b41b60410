"""
The paths of a gradient
=======================

A weight of the first layer acts on the loss through every unit behind it. An explanation knows the
share of each path: the contributions of ∂C/∂a are one product for each unit that it feeds. Here
the width of a line is the size of a contribution, and its colour the sign.
"""

import matplotlib.pyplot as plt

import chainrule as cr

X, y = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]
net = cr.Network([2, 4, 3, 1], hidden="tanh", seed=20)
why = net.explain("w[1][0,0]", X, y, focus=2)
parts = why.terms[0].contributions
product = why.samples[2].product

# %%
# ``focus=2`` shows the numbers of sample 2, for which x = (1, 0). We draw the network in grey, the
# activations of that sample in the units, and the paths from the weight to the loss in colour.

RISES, FALLS, WEIGHT, GREY = "#d1550f", "#1f6fb4", "#2a8a4a", "#aaaaaa"


def place(layer, unit):
    """Return where a unit is drawn."""
    return 2.1 * layer, 1.15 * ((net.sizes[layer] - 1) / 2 - unit)


def line(start, end, colour, width, order):
    """Draw a connection between two units."""
    axes.plot(*zip(start, end, strict=True), color=colour, linewidth=width, zorder=order)


figure, axes = plt.subplots(figsize=(7.2, 4.2))
axes.set_axis_off()
axes.set_aspect("equal")
for layer in range(1, len(net.sizes)):
    for j in range(net.sizes[layer]):
        for k in range(net.sizes[layer - 1]):
            line(place(layer - 1, k), place(layer, j), GREY, 0.7, order=1)

line(place(0, 0), place(1, 0), WEIGHT, 5, order=2)
for part in parts:
    colour = RISES if part.value > 0 else FALLS
    width = max(10 * abs(part.value), 1)
    line(place(1, 0), place(2, part.unit), colour, width, order=2)
    line(place(2, part.unit), place(3, 0), colour, width, order=2)
    (x0, y0), (x1, y1) = place(1, 0), place(2, part.unit)
    axes.text(
        0.45 * x0 + 0.55 * x1,
        0.45 * y0 + 0.55 * y1,
        f"{part.value:+.2f}",
        ha="center",
        va="center",
        fontsize=9,
        zorder=3,
        bbox={"facecolor": "white", "edgecolor": colour, "boxstyle": "round,pad=0.25"},
    )

a = net.forward(X).a
for layer, units in enumerate(net.sizes):
    for unit in range(units):
        x, height = place(layer, unit)
        circle = plt.Circle((x, height), 0.36, facecolor="white", edgecolor="#444444", zorder=4)
        axes.add_patch(circle)
        number = f"{a[layer][2, unit]:.2f}".replace("-", "−")
        axes.text(x, height, number, ha="center", va="center", fontsize=9.5, zorder=5)

factors = " × ".join(f"({term.value:.3f})" for term in why.terms).replace("-", "−")
axes.text(
    place(0, 0)[0] - 0.4,
    place(1, 0)[1] + 0.75,
    f"∂C/∂w₀₀⁽¹⁾ = ∂C/∂a · ∂a/∂z · ∂z/∂w = {factors} = {product:.4f}",
    color=WEIGHT,
    fontsize=10.5,
)
axes.autoscale_view()
plt.show()

# %%
# The contributions add up to the first term, and the terms multiply to the derivative:

print(f"{sum(part.value for part in parts):+.6f}  {why.terms[0].value:+.6f}")
print(f"{product:+.6f}")
