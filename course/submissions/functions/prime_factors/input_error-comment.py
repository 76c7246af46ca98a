# def factors(number): I did not get that far
