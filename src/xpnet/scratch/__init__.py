"""The names of the programs of 'Deep Learning from Scratch', over xpnet's own functions.

The textbook's programs (O'Reilly Japan) compute with objects: layers with `forward` and
`backward`, optimizers with ``update(params, grads)``, nets with `params` and `gradient`. These are
such objects, thin ones over the pure functions of `xpnet.layers`, `xpnet.losses` and
`xpnet.optimizers`; their conventions are the textbook's where xpnet's own differ. They compute
where their arrays live: NumPy, CuPy, Torch, JAX. Draws are those of ``np.random``, so that
``np.random.seed`` decides.
"""

from ..functions import relu, sigmoid, sigmoid_grad, softmax
from .layers import (
    Affine,
    BatchNormalization,
    Convolution,
    Dropout,
    Pooling,
    Relu,
    Sigmoid,
    SoftmaxWithLoss,
)
from .nets import DeepConvNet, MultiLayerNet, MultiLayerNetExtend, SimpleConvNet, TwoLayerNet
from .optimizers import SGD, AdaGrad, Adam, Momentum, Nesterov, RMSprop
from .tools import (
    col2im,
    cross_entropy_error,
    im2col,
    load_mnist,
    numerical_gradient,
    shuffle_dataset,
    smooth_curve,
)
from .trainer import Trainer

__all__ = [
    "SGD", "AdaGrad", "Adam", "Affine", "BatchNormalization", "Convolution", "DeepConvNet",
    "Dropout", "Momentum", "MultiLayerNet", "MultiLayerNetExtend", "Nesterov", "Pooling",
    "RMSprop", "Relu", "Sigmoid", "SimpleConvNet", "SoftmaxWithLoss", "Trainer", "TwoLayerNet",
    "col2im", "cross_entropy_error", "im2col", "load_mnist", "numerical_gradient", "relu",
    "shuffle_dataset", "sigmoid", "sigmoid_grad", "smooth_curve", "softmax",
]  # fmt: skip
