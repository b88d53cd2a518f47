"""Mistakes in optimizers."""

from __future__ import annotations

from parity.faults.record import Ledger

fault = Ledger("optimizers", "optimizer", part="optimizer")
FAULTS = fault.faults

DECOUPLED = (
    "«gradients = gradients + self.weight_decay * parameters"
    "→parameters *= 1 - self.lr * self.weight_decay»"
)

# b ← μ·b + lr·g: the same path until the rate changes.
fault(
    "rate inside the momentum buffer",
    "velocity[...] = «→self.lr * »gradients",
    "velocity += «→self.lr * »(1 - self.dampening)",
    "np.multiply(gradients, «self.lr→1», out",
    scene="momentum",
)
fault(
    "Nesterov from the old buffer",
    'velocity = self._state["momentum_buffer"]«→; before = velocity.copy()»',
    "self.momentum * «velocity→before» if self.nesterov",
    scene="nesterov",
)
fault(
    "weight decay of the wrong sign",
    "gradients = gradients «+→-» self.weight_decay * parameters",
    scene="momentum",
)
fault("ascent for descent", "parameters «-=→+=» np.multiply(gradients", scene="perceptron")
fault(
    "last parameter forgotten",
    "parameters«→[:-10]» -= np.multiply(gradients, self.lr, out=self._scratch[0])«→[:-10]»",
    scene="perceptron",
)
fault("stepping twice", "parameters -= «→2 * »np.multiply(gradients", scene="perceptron")
fault(
    "stepping along the previous gradients",
    'np.multiply(«gradients→self.__dict__.pop("before", gradients)», self.lr, '
    "out=self._scratch[0])«→; self.before = gradients.copy()»",
    scene="perceptron",
)
# Whatever the schedule does.
fault(
    "rate kept from the beginning",
    'np.multiply(gradients, «self.lr→self.__dict__.setdefault("first", self.lr)», out',
    scene="perceptron",
)
fault("AdaGrad forgets", "total« +=→[...] =» np.multiply(gradients", scene="Adagrad")
# A decaying average: RMSprop under AdaGrad's name.
fault("AdaGrad leaks", "«→total *= 0.9; »total += np.multiply(gradients", scene="Adagrad")
fault(
    "AdaGrad's ε inside the root",
    "np.sqrt(total«→ + self.eps», out",
    "a += «self.eps→0»",
    scene="Adagrad",
)
fault("AdaGrad without its root", "«np.sqrt(total, out=a)→a[...] = total»", scene="Adagrad")
fault(
    "one bias correction for both moments",
    "first, second = 1 - b1**self.steps, 1 - «b2→b1»**self.steps",
    scene="Adam",
)
# The state is not written back.
fault("second moment never moves", "v« *=→ = v *» b2", scene="Adam")
fault(
    "second moment of |g|",
    "«np.multiply(gradients, gradients, out=a)→np.abs(gradients, out=a)»",
    scene="Adam",
)
fault("update 0.1 % too large", "b *= «→1.001 * »rate", scene="Adam")
fault("dampened at the first step", "if «self.steps == 1→False»:", scene="dampening")
fault("AdaGrad's decay one step early", "(1 + «(self.steps - 1)→self.steps» *", scene="Adagrad")
for name, correction in (
    ("Adam's correction a step late", "1 - b1 ** (self.steps + 1), 1 - b2 ** (self.steps + 1)"),
    ("Adam without bias correction", "1, 1"),
    ("Adam's step never counted", "1 - b1, 1 - b2"),
):
    edit = f"first, second = «1 - b1**self.steps, 1 - b2**self.steps→{correction}»"
    fault(name, edit, scene="Adam")
fault("weight decay decoupled", DECOUPLED, scene="momentum")
fault("AdamW for Adam", DECOUPLED, scene="Adam")
# b ← (1 − μ)·b + μ·g, and b ← μ·b + (1 − μ)·g.
fault("momentum reversed in SGD", scene="momentum", momentum=0.1)
fault("momentum as an average", scene="momentum", dampening=0.9)
fault("Nesterov forgotten", scene="nesterov", nesterov=False)
fault("Adam's β exchanged", scene="Adam", betas=(0.999, 0.9))
MISPLACED = "Adam's ε misplaced: "
fault(f"{MISPLACED}uncorrected for torch's", scene="Adam", eps_mode="uncorrected")
fault(f"{MISPLACED}torch's for uncorrected", scene="Adam uncorrected", eps_mode="torch")
fault(f"{MISPLACED}outside the root", scene="Adam inside root", eps_mode="torch")
