"""The paper's experiment (arXiv 2601.19055, section "Experiments"): `learner reproduce`."""
