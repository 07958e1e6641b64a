"""Operations that networks share and PyTorch does not have: pools, selections, recurrent cells, gates."""
