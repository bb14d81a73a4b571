"""What a radio link carries: budgets, profiles, orbits, passes, codes and losses."""
