std = "lua54"
max_line_length = 110
files["spec"] = { std = "+busted" }
files["docs/config.ld"] = { std = "+ldoc" }
files["rockspec"] = { std = "+rockspec" }
