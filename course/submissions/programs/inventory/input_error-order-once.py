order = {thing: 1 for thing in wanted}
