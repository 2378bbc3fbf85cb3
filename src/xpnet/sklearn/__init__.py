"""scikit-learn's `MLPClassifier` and `MLPRegressor`, for arrays of any library.

The net is `xpnet.MLP`, the training `xpnet.fit`: what scikit-learn decides at the end of an epoch
(stopping, learning rates, the best weights) is a callback and a schedule here. This is the only
wing that imports scikit-learn.
"""

import sys

try:
    import scipy.optimize  # noqa: F401
    from sklearn import get_config  # noqa: F401
    from sklearn.utils.validation import validate_data  # noqa: F401
except ImportError as error:
    raise ImportError(
        f"xpnet.sklearn needs scikit-learn 1.8 or newer ({error}); install it with: "
        "python -m pip install 'xpnet[sklearn]'"
    ) from error

from ..training import history
from .estimators import MLPClassifier, MLPRegressor
from .solvers import Epochs

# Where estimators that version 0.1 has pickled look for what they hold.
_Epochs = Epochs
sys.modules["xpnet.history"] = history

__all__ = ["MLPClassifier", "MLPRegressor"]
