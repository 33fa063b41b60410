"""Thresholds of the findings, each with its reason."""

# A relative difference that rounding in float32 explains, over sums of some thousand numbers.
ROUNDING = 1e-4

# |g′| below this share of the steepest slope counts as flat: a sigmoid has |z| > 4.4 there and a
# tanh |z| > 2.2, and passes a twentieth of what it passes at z = 0 ...
FLAT = 0.05
# ... and a unit is saturated where this is so on nearly all samples: a unit that is flat on some
# samples only says something sure about them, which is what it is for.
FLAT_SHARE = 0.95
# A single saturated unit costs little; from this share of a layer on it is a fault.
FLAT_UNITS = 0.1

# Fewer samples than this prove nothing about a unit: a healthy ReLU unit is off on half of them,
# and on all of 32 once in 4 · 10⁹ if they were independent. Positions of one image are far from it.
OBSERVED = 32
# Units that are 0 on a batch are common in healthy runs: a fifth of a layer after some epochs, half
# of a wide one at its start, each of which another batch may wake. It is a fault where few are
# left ...
DEAD_SHARE = 0.75
# ... and for units whose largest z is this many (robust) standard deviations of the layer's z
# below 0: no start and no healthy step leads there, and no sample like these will wake them ...
BURIED = 5.0
# ... from this share of the layer on.
BURIED_SHARE = 0.1

# The gradient arriving at the first layers, as a share of the largest. A healthy network keeps it
# within a factor of 100 or so; below 1e-4 the first layers move 10,000 times slower than the last.
VANISHED = 1e-4
# The same in the other direction: the first layers get 10,000 times what the last ones get.
EXPLODED = 1e4
# A step that changes a weight matrix by more than half its own size forgets what it held; a healthy
# run has about 1e-3, and Adam at its usual rates up to 0.1 at its first steps.
UPDATE = 0.5
# Smaller weights than this share of 1/√fan-in were started near 0 on purpose; their first steps are
# large beside them.
SMALL_START = 0.1

# The root mean square of a standardised column is 1, of an image in 0 to 1 below 1. From 30 on its
# weights' gradients are 30 times those of a standardised column, and one rate does not fit both.
UNSCALED = 30.0
# Outputs that differ by less than this share of their size are the same for all samples: float32
# has 7 digits, and a network that sees its input differs by far more.
CONSTANT = 1e-5

# .grad holds this many times the batch's own gradient, in its own direction, before a warning:
# gradients of single batches differ by less among themselves.
HELD = 4.0
# Or momentum points where .grad does: with a cosine that gradients of single batches do not reach
# (0.84 at most in runs of small networks where one batch had 4 times the gradient of another; sums
# of batches have 0.98 to 1) ...
ALIGNED = 0.95
# ... and holds this many gradients of that size: one batch far off stands in it once.
MOMENTUM = 2.5

# A label is suspected where the model gives another class at least this probability ...
SURE = 0.99
# ... and the label at most this one ...
DOUBTED = 0.01
# ... while it is right on at least this share of the batch: a model that has learned nothing
# contradicts labels by chance.
RIGHT = 0.8
# For numbers: a residual beyond this many robust standard deviations, which a normal one exceeds
# once in 500 million ...
OUTLIER = 6.0
# ... and beyond this many standard deviations of the targets themselves: residuals of a network
# that has nearly learned its samples by heart are far from normal ...
FAR = 1.0
# ... of a model that explains at least this share of the variance.
EXPLAINED = 0.8
# A judgement about outliers needs a batch to stand out from.
CROWD = 8
