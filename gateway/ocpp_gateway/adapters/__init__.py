"""One module per outside thing, named after it. They execute the core's effects in order and decide nothing themselves."""
