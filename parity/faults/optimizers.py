"""Mistakes in optimizers."""

from __future__ import annotations

from parity.faults.record import Ledger

fault = Ledger("optimizers", "optimizer", part="optimizer")
FAULTS = fault.faults
momentum = fault.on("momentum")
nesterov = fault.on("nesterov")
perceptron = fault.on("perceptron")
adagrad = fault.on("Adagrad")
adam = fault.on("Adam")
dampening = fault.on("dampening")
uncorrected = fault.on("Adam uncorrected")
inside_root = fault.on("Adam inside root")

DECOUPLED = (
    "«gradients = gradients + self.weight_decay * parameters"
    "→parameters *= 1 - self.lr * self.weight_decay»"
)

# b ← μ·b + lr·g: the same path until the rate changes.
momentum(
    "rate inside the momentum buffer",
    "velocity[...] = «→self.lr * »gradients",
    "velocity += «→self.lr * »(1 - self.dampening)",
    "np.multiply(gradients, «self.lr→1», out",
)
nesterov(
    "Nesterov from the old buffer",
    'velocity = self._state["momentum_buffer"]«→; before = velocity.copy()»',
    "self.momentum * «velocity→before» if self.nesterov",
)
momentum(
    "weight decay of the wrong sign", "gradients = gradients «+→-» self.weight_decay * parameters"
)
perceptron("ascent for descent", "parameters «-=→+=» np.multiply(gradients")
perceptron(
    "last parameter forgotten",
    "parameters«→[:-10]» -= np.multiply(gradients, self.lr, out=self._scratch[0])«→[:-10]»",
)
perceptron("stepping twice", "parameters -= «→2 * »np.multiply(gradients")
perceptron(
    "stepping along the previous gradients",
    'np.multiply(«gradients→self.__dict__.pop("before", gradients)», self.lr, '
    "out=self._scratch[0])«→; self.before = gradients.copy()»",
)
# Whatever the schedule does.
perceptron(
    "rate kept from the beginning",
    'np.multiply(gradients, «self.lr→self.__dict__.setdefault("first", self.lr)», out',
)
adagrad("AdaGrad forgets", "total« +=→[...] =» np.multiply(gradients")
# A decaying average: RMSprop under AdaGrad's name.
adagrad("AdaGrad leaks", "«→total *= 0.9; »total += np.multiply(gradients")
adagrad("AdaGrad's ε inside the root", "np.sqrt(total«→ + self.eps», out", "a += «self.eps→0»")
adagrad("AdaGrad without its root", "«np.sqrt(total, out=a)→a[...] = total»")
adam(
    "one bias correction for both moments",
    "first, second = 1 - b1**self.steps, 1 - «b2→b1»**self.steps",
)
# The state is not written back.
adam("second moment never moves", "v« *=→ = v *» b2")
adam("second moment of |g|", "«np.multiply(gradients, gradients, out=a)→np.abs(gradients, out=a)»")
adam("update 0.1 % too large", "b *= «→1.001 * »rate")
dampening("dampened at the first step", "if «self.steps == 1→False»:")
adagrad("AdaGrad's decay one step early", "(1 + «(self.steps - 1)→self.steps» *")
for name, correction in (
    ("Adam's correction a step late", "1 - b1 ** (self.steps + 1), 1 - b2 ** (self.steps + 1)"),
    ("Adam without bias correction", "1, 1"),
    ("Adam's step never counted", "1 - b1, 1 - b2"),
):
    edit = f"first, second = «1 - b1**self.steps, 1 - b2**self.steps→{correction}»"
    adam(name, edit)
momentum("weight decay decoupled", DECOUPLED)
adam("AdamW for Adam", DECOUPLED)
# b ← (1 − μ)·b + μ·g, and b ← μ·b + (1 − μ)·g.
momentum("momentum reversed in SGD", momentum=0.1)
momentum("momentum as an average", dampening=0.9)
nesterov("Nesterov forgotten", nesterov=False)
adam("Adam's β exchanged", betas=(0.999, 0.9))
MISPLACED = "Adam's ε misplaced: "
adam(f"{MISPLACED}uncorrected for torch's", eps_mode="uncorrected")
uncorrected(f"{MISPLACED}torch's for uncorrected", eps_mode="torch")
inside_root(f"{MISPLACED}outside the root", eps_mode="torch")
