std = "max"
max_line_length = 110
files["spec/**/*.lua"] = { std = "+busted" }
