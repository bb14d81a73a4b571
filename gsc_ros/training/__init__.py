"""One module a training stage; `gsc train STAGE --data DIR` runs them."""
