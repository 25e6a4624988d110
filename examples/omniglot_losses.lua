--- Which loss? Trains the few-shot papers' conv4 on Omniglot under one loss after the other, all else alike,
-- and prints their table: 5- and 20-way, 1- and 5-shot, on characters of alphabets never seen; and, beside
-- it, the runs of Lake et al. 2015.
--
--    lua5.4 examples/omniglot_losses.lua --root DIR [--losses NAME,...] [--seeds N] [--steps N] [--out FILE]
--                                          [--deal characters]
--
-- DIR holds `images_background` and, for the runs, `all_runs`: folders, or archives named
-- `images_background.zip` and `all_runs*.zip`. FILE gets the table in Markdown.
--
-- A seed deals the 30 alphabets: 24 train, 6 are tested; with `--deal characters` it deals the characters,
-- so that those of the test are of alphabets that were trained on. As in Vinyals et al. 2016 and Snell et
-- al. 2017, drawings are 28 x 28, and a character turned by 90, 180 or 270 degrees counts as another one (in
-- training and in the table's test). They deal characters, and train on 1,028 to 1,200 of 50 alphabets; here
-- it is about 770 of 30. An embedding is conv4's 64 features, which are never negative; losses that would
-- have it on all of a sphere get a linear layer and batch norm behind them. Batches are 32 characters of 4
-- drawings each, warped a little; AdamW, the rate falls along a cosine.
local siamese = require "siamese"
local data, losses, metrics, nn = siamese.data, siamese.losses, siamese.metrics, siamese.nn

local CLASSES, SAMPLES, SIZE, FEATURES = 32, 4, 28, 64

--- The losses by name: how they are made for so many classes to train on, the distance of the test, whether
-- the network has a head.
local LOSSES = {
   { "contrastive", "l2", function() return losses.Contrastive{ margin = 1 } end, unit = true },
   { "triplet", "l2", function() return losses.BatchHardTriplet{ soft = true } end, head = true },
   { "lifted-structure", "l2", function() return losses.LiftedStructure{} end },
   { "multi-similarity", "cosine", function() return losses.MultiSimilarity{} end, head = true },
   { "nt-xent", "cosine", function() return losses.NTXent{} end, head = true },
   { "supcon", "cosine", function() return losses.SupCon{} end, head = true },
   { "circle", "cosine", function() return losses.Circle{} end, head = true },
   { "prototypical", "l2", function() return losses.Prototypical{ shots = 1, scale = 1 / FEATURES } end },
   { "proxy-anchor", "cosine", function(classes)
      return losses.ProxyAnchor{ num_classes = classes, embedding_size = FEATURES, alpha = 8 }
   end, head = true },
   { "arcface", "cosine", function(classes)
      return losses.ArcFace{ num_classes = classes, embedding_size = FEATURES, margin = 0.3,
         scale = 16 }
   end, head = true },
}

local function encoder(head)
   local features = siamese.models.conv4()
   return head and nn.Sequential{ features, nn.Linear{ in_features = FEATURES, out_features = FEATURES },
      nn.BatchNorm1d{ num_features = FEATURES } } or features
end

-- Command line

local function usage(message)
   io.stderr:write("omniglot_losses: ", message, "\nusage: omniglot_losses.lua --root DIR",
      " [--losses NAME,...] [--seeds N] [--first SEED] [--steps N] [--rate R] [--episodes N] [--threads N]",
      " [--deal alphabets|characters] [--out FILE]\n")
   os.exit(2)
end

local function must(value, message)
   if value == nil then
      io.stderr:write("omniglot_losses: ", message, "\n")
      os.exit(1)
   end
   return value
end

local function parse(arguments)
   local o = { seeds = 2, first = 1, steps = 2500, rate = 5e-3, episodes = 600, losses = "",
      deal = "alphabets", threads = siamese.get_threads() }
   local texts = { root = true, losses = true, deal = true, out = true }
   for i = 1, #arguments, 2 do
      local key, value = arguments[i]:match("^%-%-(%a+)$"), arguments[i + 1]
      if not value or not (texts[key or ""] or o[key or ""]) then
         usage("unknown or incomplete option " .. arguments[i])
      end
      o[key] = texts[key] and value or math.tointeger(value) or tonumber(value)
         or usage(arguments[i] .. " wants a number")
   end
   if o.deal ~= "alphabets" and o.deal ~= "characters" then
      usage("--deal wants alphabets or characters")
   end
   return o.root and o or usage("--root is missing")
end

local function chosen(list)
   local out, wanted = {}, {}
   for name in list:gmatch("[^,]+") do
      wanted[name] = true
   end
   for _, entry in ipairs(LOSSES) do
      if list == "" or wanted[entry[1]] then
         out[#out + 1], wanted[entry[1]] = entry, nil
      end
   end
   local unknown = next(wanted)
   return unknown and usage("there is no loss named " .. unknown) or out
end

-- Data

--- The first of the folder's entries that are there, a folder or an archive.
local function find(root, pattern)
   for _, name in ipairs(must(siamese.core.list_folder(root))) do
      if name:match(pattern) then
         return root .. "/" .. name
      end
   end
end

--- Images [N,1,S,S] turned by a right angle: transposed, and mirrored.
local function turned(images)
   local backwards = siamese.arange(images:size(4), 0, -1, { dtype = "int64" })
   return images:transpose(3, 4):contiguous():index_select(4, backwards)
end

--- The set and its three turns, each character of each turn a class of its own.
local function with_turns(set)
   local images, labels, classes, groups = { set.images }, { set.labels }, {}, {}
   for turn = 1, 3 do
      images[turn + 1] = turned(images[turn])
      labels[turn + 1] = set.labels + turn * #set.classes
   end
   for turn = 0, 3 do
      for class, name in ipairs(set.classes) do
         classes[#classes + 1] = ("%s, %d degrees"):format(name, 90 * turn)
         groups[#groups + 1] = set.alphabets[class] .. turn
      end
   end
   return data.set{ images = siamese.cat(images, 1), labels = siamese.cat(labels, 1), classes = classes,
      alphabets = groups }
end

-- One loss

local function train(entry, set, seed, o)
   siamese.manual_seed(seed)
   local twin = siamese.Twin{ encoder = encoder(entry.head), distance = entry[2] }
   local loss = entry[3](#set.classes)
   local groups = { { params = twin:parameters() } }
   if #loss:parameters() > 0 then -- proxies and classes' weights, whose entries are large to begin with
      groups[2] = { params = loss:parameters(), lr = 0.2 }
   end
   local function objective(indices, labels)
      local x = twin:embed(o.warp((set:batch(indices))))
      return loss(entry.unit and siamese.F.normalize(x, 2) or x, labels), #indices
   end
   local result = must(siamese.fit{ model = twin, objective = objective, steps = o.steps,
      data = function()
         return data.class_batches(set, { classes = CLASSES, samples = SAMPLES, seed = seed })
      end,
      optimizer = siamese.optim.AdamW(groups, { lr = o.rate, weight_decay = 1e-4 }),
      schedule = "cosine", warmup = math.min(100, o.steps // 10), progress = entry[1] })
   twin:eval()
   return function(x)
      return twin:embed(x)
   end, result
end

--- Figures in percent, in the order of the table's columns.
local function test(embed, entry, set, runs, seed, o)
   local t = metrics.few_shot_table(set, { embed = embed, distance = entry[2], seed = seed,
      episodes = o.episodes })
   local figures = { t[5][1], t[5][5], t[20][1], t[20][5] }
   for i, figure in ipairs(figures) do
      figures[i] = 100 * figure.accuracy
   end
   figures[5] = runs and 100 * metrics.lake_runs(runs, embed, { distance = entry[2] }).accuracy
   return figures
end

-- The table

local HEAD = [[
| loss | 5-way 1-shot | 5-way 5-shot | 20-way 1-shot | 20-way 5-shot | Lake's runs |
|---|---|---|---|---|---|
]]

--- "98.76 ± 0.12": mean over the seeds and half of its 95 % interval.
local function cell(rows, column)
   local values = {}
   for i, row in ipairs(rows) do
      values[i] = row[column]
   end
   local mean, half = metrics.interval(values)
   return #values == 0 and "" or #values == 1 and ("%.2f"):format(mean) or ("%.2f ± %.2f"):format(mean, half)
end

local function line(name, rows)
   local cells = {}
   for column = 1, 5 do
      cells[column] = cell(rows, column)
   end
   return ("| %s | %s |\n"):format(name, table.concat(cells, " | "))
end

local function main()
   local o = parse(arg)
   local entries = chosen(o.losses)
   siamese.set_threads(o.threads)
   local all = must(data.omniglot(find(o.root, "^images_background%.?z?i?p?$")
      or must(nil, o.root .. ": there is no images_background"), { size = SIZE }))
   local path = find(o.root, "^all_runs")
   local runs = path and must(data.omniglot_runs(path, { size = SIZE }))
   local rows = {}
   for seed = o.first, o.first + o.seeds - 1 do
      local known, unknown = data.split_classes(all, { 0.8, 0.2 }, { seed = seed,
         groups = o.deal == "alphabets" and all.alphabets or nil })
      print(("seed %d: %d characters to train on, %d%s to test"):format(seed, #known.classes,
         #unknown.classes, o.deal == "alphabets" and " of other alphabets" or ""))
      known, unknown = with_turns(known), with_turns(unknown)
      o.warp = siamese.augment.Affine{ rotation = 12, shear = 0.2, scale = { 0.8, 1.2 },
         translation = 0.06 * SIZE, seed = seed }
      for _, entry in ipairs(entries) do
         local embed, trained = train(entry, known, seed, o)
         rows[entry] = rows[entry] or {}
         table.insert(rows[entry], test(embed, entry, unknown, runs, seed, o))
         print(("%.0f drawings a second\n%s"):format(trained.images / trained.seconds, line(entry[1],
            { rows[entry][#rows[entry]] })))
         io.flush()
      end
   end
   local text = HEAD
   for _, entry in ipairs(entries) do
      text = text .. line(entry[1], rows[entry])
   end
   print(text)
   if o.out then
      local file = must(io.open(o.out, "w"))
      file:write(text)
      file:close()
   end
end

main()
