"""Mistakes in the stack of layers, its modes, and what one call leaves to the next."""

from __future__ import annotations

from parity.faults.record import Ledger

fault = Ledger("training", part="network")
FAULTS = fault.faults
deep = fault.on("deepcnn21")
bn = fault.on("lenet5_bn")
avgpool = fault.on("lenet5_avgpool")
perceptron = fault.on("perceptron")
tanh = fault.on("lenet5_tanh")


deep("evaluation mode ignored", "return self.train(«False→self.training»)", culprit="eval")
bn(
    "training mode ignored",
    "self.training = «mode→False»",
    "layer.train(«mode→False»)",
    culprit="train",
)
avgpool("caller's array used again", "self._shapes = shapes«→; x[...] = 0»", culprit="inputs")
# No zero_grad: every backward adds to the gradients before it.
fault(
    "gradients accumulate over calls",
    "«→before = self.flat_gradients.copy(); »"
    "dx = self.backward_batch_last(batch_last(dy).copy(), input_gradient)"
    "«→; self.flat_gradients += before»",
    culprit="calls",
)
fault(
    "first batch answered for ever",
    'x = «np.asarray(x)→self.__dict__.setdefault("first", np.array(x))»',
    culprit="calls",
)
perceptron(
    "no gradient for the input",
    "return «batch_first(dx).copy() if input_gradient and dx is not None else →»None",
    culprit="gradient of input",
)
tanh("output in double precision", "return y«→.astype(np.float64)»", culprit="dtype")
fault(
    "a layer left out",
    "«list(self.layers.values())→[x for name, x in self.layers.items() if name != 'relu5']»",
    culprit="relu5",
)
tanh(
    "a layer left out in backward",
    "*others = «self._order()→[x for x in self._order() if x is not self.layers['tanh4']]»",
    culprit="tanh4",
)
tanh(
    "pooling before activation",
    "layers = list(self.layers.values())«→; layers[5:7] = layers[6], layers[5]»",  # tanh3 and s4
    culprit="tanh3",
)
