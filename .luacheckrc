std = "lua54"
max_line_length = 110
ignore = { "581" } -- "not (x <= y)" is how NaN is caught, too
files["spec"] = { std = "+busted" }
files["spec/golden"] = { max_line_length = false } -- made by a script
files["docs/config.ld"] = { std = "+ldoc" }
files["rockspec"] = { std = "+rockspec" }
