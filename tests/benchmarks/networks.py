"""What the networks of five papers cost on a CPU, beside a plain reading of the same ones.

    python -m tests.benchmarks.networks --threads 2 [--full] [--repeats 7] [--json numbers.json]

As tests/benchmarks/models.py does for the BERT papers' networks: both hold the same weights and take turns. In plain
ones a shift fills a map of zeros, a depth-wise filter over time is three convolutions, and depth-wise convolutions
over frames are given their channels as they come. Networks that this version does not have are left out, and named.
"""

from kinebert.training.models import BACKBONES
from tests.benchmarks.models import Case, main

CASES = (
    Case(name="MFNet", network={"backbone": "mfnet", "head": "tgap"}, full=(16, 224), small=(8, 112)),
    Case(
        name="TSM-50",
        network={"backbone": "resnet50", "backbone_options": {"temporal": "tsm"}, "head": "tgap"},
        full=(8, 224),
        small=(4, 224),
    ),
    Case(name="X3D-M", network={"backbone": "x3d_m", "head": "tgap"}, full=(16, 224), small=(8, 112)),
    Case(name="CSN-50", network={"backbone": "csn_ir_50", "head": "tgap"}, full=(32, 224), small=(8, 112)),
    Case(
        name="TAM-50",
        network={"backbone": "resnet50", "backbone_options": {"temporal": "tam"}, "head": "tgap"},
        full=(8, 224),
        small=(4, 224),
    ),
    Case(name="MTNet-S", network={"backbone": "mtnet_s", "head": "tgap"}, full=(16, 224), small=(16, 112)),
)


if __name__ == "__main__":
    there = [case for case in CASES if case.network["backbone"] in BACKBONES]
    lacking = [case.name for case in CASES if case not in there]
    if lacking:
        print(f"left out, since this version does not have them: {', '.join(lacking)}")
    main(there, __doc__ or "")
