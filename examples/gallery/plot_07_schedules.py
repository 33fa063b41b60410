"""
Learning-rate schedules
=======================

A schedule is the learning rate η as a function of the epochs that have passed. ``history`` keeps
the rate with which each epoch began.
"""

import matplotlib.pyplot as plt
import numpy as np

import chainrule as cr

X = np.random.default_rng(0).normal(size=(64, 2))
y = (X.sum(axis=1) > 0).astype(float)

schedules = {
    "StepDecay(0.1, every=10, factor=0.5)": cr.StepDecay(0.1, every=10, factor=0.5),
    "ExponentialDecay(0.1, factor=0.93)": cr.ExponentialDecay(0.1, factor=0.93),
    "Cosine(0.1, epochs=40)": cr.Cosine(0.1, epochs=40),
    "WarmUp(8, then=Cosine(0.1, 32))": cr.WarmUp(8, cr.Cosine(0.1, 32)),
}
figure, axes = plt.subplots()
for name, schedule in schedules.items():
    net = cr.Network([2, 4, 1], seed=0)
    history = net.fit(X, y, optimizer=cr.GradientDescent(schedule), epochs=40, verbose=0)
    axes.step(history.epoch, history.learning_rate, where="post", label=name)
axes.set_xlabel("epoch")
axes.set_ylabel("learning rate η")
axes.legend()
plt.show()
