name = input("Your name? ")
year = input("Year of birth? ")
print("<script>alert('" + name + "')</script></div>]]>&nbsp;<!-- $HOME %s {} \u202e \x07")
