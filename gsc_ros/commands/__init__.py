"""Commands of `gsc`, a module each: ``add_parser`` describes it, ``run`` does it."""
