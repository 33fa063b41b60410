"""
The loss over one weight
========================

A derivative is the slope of a tangent. ``why.plot()`` draws the loss as a function of the one weight
that is explained, computed by forward passes, with the tangent whose slope is the derivative, and
the step that gradient descent makes with the learning rate.
"""

import matplotlib.pyplot as plt

import chainrule as cr

X, y = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]
net = cr.Network([2, 4, 1], hidden="tanh", loss="half_squared_error", seed=20)

figure, panels = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
why = net.explain("w[2][0,1]", X, y, learning_rate=1.0)
why.plot(panels[0])
net.explain("w[1][0,0]", X, y, learning_rate=4.0).plot(panels[1])
plt.show()

# %%
# On the tangent, the step would change the loss by −η (∂C/∂w)². The real change differs, because
# the curve bends away from its tangent:

before = net.loss_value(X, y)
net.layers[2].W[0, 1] -= 1.0 * why.value
print(f"by the tangent {-(why.value**2):+.6f}")
print(f"really         {net.loss_value(X, y) - before:+.6f}")
