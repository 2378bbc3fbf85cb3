"""300 images to learn from: dropout makes the training accuracy say less, and the gap smaller.

    python examples/scratch/dropout.py [--quick] [--xp torch] [--out dropout.png]
"""

from _overfitting import compare
from _shared import options

REMEDIES = {"no dropout": {}, "dropout of 0.2": {"use_dropout": True, "dropout_ration": 0.2}}


def main(quick=False, xp="numpy", out=None):
    return compare(REMEDIES, quick, xp, out)


if __name__ == "__main__":
    main(**options(__doc__))
