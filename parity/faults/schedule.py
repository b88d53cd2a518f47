"""Mistakes in the learning-rate schedule, which halves the rate after every second epoch."""

from __future__ import annotations

from parity.faults.record import Ledger

fault = Ledger("schedule", "schedule", "perceptron, two epochs", part="schedule")
FAULTS = fault.faults

DUE = "self.last_epoch % self.step_size == 0"
fault(
    "StepLR one epoch late",
    f"if «{DUE}→self.last_epoch > 1 and self.last_epoch % self.step_size == 1»:",
)
fault("StepLR one epoch early", "if «self.last_epoch→(self.last_epoch + 1)» % self.step_size")
fault("rate falls at every epoch", "if self.last_epoch «% self.step_size == 0→>= self.step_size»")
fault("rate falls only once", "if self.last_epoch «% self.step_size == 0→== self.step_size»")
fault("rate falls by another share", "self.optimizer.lr *= «self.gamma→1 - 0.9 * self.gamma»")
fault("rate falls smoothly", f"if «{DUE}→True»:", "lr *= self.gamma«→ ** (1 / self.step_size)»")
fault("γ off by 0.1 %", gamma=0.4995)
fault("stepped twice as often", step_size=1)
