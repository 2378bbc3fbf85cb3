"""300 images to learn from: weight decay keeps the weights small, and the two curves together.

    python examples/scratch/weight_decay.py [--quick] [--xp torch] [--out weight-decay.png]
"""

from _overfitting import compare
from _shared import options

REMEDIES = {"no decay": {}, "decay of 0.05": {"weight_decay_lambda": 0.05}}


def main(quick=False, xp="numpy", out=None):
    return compare(REMEDIES, quick, xp, out)


if __name__ == "__main__":
    main(**options(__doc__))
