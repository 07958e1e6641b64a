"""How weights learn: groups of parameters, rules, rates, losses and averages."""
