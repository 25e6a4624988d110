--- Trains a twin on Omniglot's background set and takes the 20-way one-shot runs of Lake et al. 2015.
--
--    lua5.4 examples/omniglot.lua --root DIR [--minutes N] [--seed N] [--save FILE] [--paper]
--
-- DIR holds `images_background/ALPHABET/characterNN/*.png` and `all_runs/runNN/...` (runs directly
-- under DIR are found too). Only the background set is trained on; some of its alphabets are held
-- out and watched; the runs are looked at once, at the end.
--
-- The recipe: a plain convolutional encoder with batch norm; batches of characters from a few
-- alphabets, some drawings of each, so that much of what must be told apart is alike; each drawing
-- warped by a random affine map; a loss that asks each drawing to find its partners among all others
-- of the batch (NT-Xent on cosines); AdamW with a learning rate that falls along a cosine over the time
-- given. An embedding is the mean over some small warps of a drawing.
--
-- `--paper` trains the network and the weighted-L1 head of Koch, Zemel and Salakhutdinov 2015 on
-- pairs instead, as published.
local siamese = require "siamese"
local nn, data, metrics, optim = siamese.nn, siamese.data, siamese.metrics, siamese.optim

local HELD_OUT = { ["Anglo-Saxon_Futhorc"] = true, Early_Aramaic = true, Sanskrit = true }

local options = { noruns = 0, minutes = 18, seed = 1, size = 42, classes = 32, samples = 4, alphabets = 4,
   temperature = 1 / 16, rate = 2e-3, widths = "64,64,128,128", warps = 24, decay = 1e-4 }

-- Command line.

local function usage(message)
   io.stderr:write("omniglot: ", message, "\nusage: omniglot.lua --root DIR [--minutes N] [--seed N]",
      " [--save FILE] [--threads N] [--paper]\n")
   os.exit(2)
end

local function parse(arguments)
   local i = 1
   while i <= #arguments do
      local key, value = arguments[i]:match("^%-%-(%a+)$"), arguments[i + 1]
      if key == "paper" then
         options.paper, i = true, i + 1
      elseif key and (options[key] or key == "root" or key == "save" or key == "threads") and value then
         local wants_number = type(options[key]) == "number" or key == "threads"
         options[key] = wants_number and (math.tointeger(value) or tonumber(value)) or value
         if wants_number and type(options[key]) ~= "number" then
            usage(("--%s: '%s' is no number"):format(key, value))
         end
         i = i + 2
      else
         usage("unknown or incomplete option " .. arguments[i])
      end
   end
   return options.root and options or usage("--root is missing")
end

local function must(value, message)
   if value == nil then
      io.stderr:write("omniglot: ", message, "\n")
      os.exit(1)
   end
   return value
end

local function say(...)
   print((...):format(select(2, ...)))
   io.flush()
end

-- Data.

local function load_background(o)
   local set = must(data.omniglot(o.root .. "/images_background", { size = o.size }))
   local train, held = {}, {}
   for class, alphabet in ipairs(set.alphabets) do
      local list = HELD_OUT[alphabet] and held or train
      list[#list + 1] = class
   end
   if #train == 0 then
      must(nil, "the background set has no alphabets to train on")
   end
   return set:select_classes(train), #held > 0 and set:select_classes(held) or nil
end

local function load_runs(o)
   return data.omniglot_runs(o.root .. "/all_runs", { size = o.size })
      or must(data.omniglot_runs(o.root, { size = o.size }))
end

-- The recipe.

local function encoder(o)
   local layers, cin = {}, 1
   for width in o.widths:gmatch("%d+") do
      local cout = math.tointeger(width)
      layers[#layers + 1] = nn.Conv2d{ in_channels = cin, out_channels = cout, kernel_size = 3,
         padding = 1, bias = false }
      layers[#layers + 1] = nn.BatchNorm2d{ num_features = cout }
      layers[#layers + 1] = nn.ReLU{}
      layers[#layers + 1] = nn.MaxPool2d{ kernel_size = 2, ceil_mode = true }
      cin = cout
   end
   layers[#layers + 1] = nn.Flatten{}
   return nn.Sequential(layers)
end

--- A mean of unit embeddings: of the drawing and of some small warps of it.
local function averaged_embedding(twin, o)
   return function(images)
      local warp = siamese.augment.Affine{ rotation = 10, shear = 0.15, scale = { 0.85, 1.15 },
         translation = 0.06 * o.size, seed = o.seed }
      local sum = nn.functional.normalize(twin:embed(images), 2)
      for _ = 1, o.warps do
         sum = sum + nn.functional.normalize(twin:embed(warp(images)), 2)
      end
      return sum
   end
end

--- Accuracy on alphabets that were held out, in the manner of the runs: 20 characters of one alphabet.
local function validate(embed, held, episodes)
   local groups, count = held.alphabets, {}
   for _, alphabet in ipairs(groups) do
      count[alphabet] = (count[alphabet] or 0) + 1
   end
   local way = 20
   for _, n in pairs(count) do
      way = math.min(way, n)
   end
   local result = metrics.few_shot(held, { embed = embed, way = way, episodes = episodes or 200,
      distance = "cosine", groups = groups, seed = 1 })
   return result.accuracy, way
end

local function train(twin, set, o, deadline)
   local warp = siamese.augment.Affine{ rotation = 12, shear = 0.2, scale = { 0.8, 1.2 },
      translation = 0.06 * o.size, seed = o.seed }
   local result = must(siamese.fit{
      model = twin, loss = siamese.losses.NTXent{ temperature = o.temperature }, set = set, augment = warp,
      data = function()
         return data.class_batches(set, { classes = o.classes, samples = o.samples, groups = set.alphabets,
            groups_per_batch = o.alphabets, seed = o.seed })
      end,
      optimizer = optim.AdamW(twin:parameters(), { lr = o.rate, weight_decay = o.decay }),
      schedule = "cosine", warmup = 100, seconds = deadline - siamese.clock(), progress = "training",
   })
   say("trained on %d drawings, %.0f a second", result.images, result.images / result.seconds)
end

local function run_recipe(o, began)
   local set, held = load_background(o)
   say("%d drawings of %d characters to train on, %d characters of other alphabets held out", #set,
      #set.classes, held and #held.classes or 0)
   local twin = siamese.Twin{ encoder = encoder(o), distance = "cosine" }
   say("%d parameters, %d threads", twin:num_parameters(), siamese.get_threads())
   train(twin, set, o, began + 60 * o.minutes)
   twin:eval()
   local embed = averaged_embedding(twin, o)
   if held then
      local plain, way = validate(function(x) return twin:embed(x) end, held)
      say("held-out alphabets, %d-way one-shot: %.2f %% (averaged over warps: %.2f %%)", way,
         100 * plain, 100 * validate(embed, held))
   end
   return twin, embed, "cosine"
end

-- Koch, Zemel, Salakhutdinov 2015.

local function run_paper(o, began)
   o.size = 105
   local set, held = load_background(o)
   say("%d drawings of %d characters to train on, in pairs", #set, #set.classes)
   local encoder_net = siamese.models.koch()
   local twin = siamese.Twin{ encoder = encoder_net, head = nn.WeightedL1{ features = 4096 } }
   nn.init.koch_(twin.head)
   -- Section 3.3: layer-wise rates that fall by 1 % an epoch, momentum that rises linearly, L2.
   local optimizer = optim.SGD(siamese.models.koch_parameter_groups(twin), { lr = 1e-2 })
   local schedule = siamese.models.koch_schedule(optimizer, { epochs = 200 })
   must(siamese.fit{
      model = twin, loss = siamese.losses.BCEWithLogits{}, set = set, optimizer = optimizer,
      augment = siamese.augment.Affine{ rotation = 10, shear = 0.3, scale = { 0.8, 1.2 }, translation = 2,
         p = 0.5, seed = o.seed },
      data = function()
         return data.pairs(set, { batch_size = 32, seed = o.seed, groups = set.alphabets })
      end,
      callbacks = { on_step_begin = function(state)
         schedule(200 * state.progress)
      end },
      seconds = began + 60 * o.minutes - siamese.clock(), progress = "training",
   })
   twin:eval()
   --- The head's logit of every query against every support embedding; more alike is closer.
   local function distance(queries, supports)
      local rows = {}
      for i = 1, queries:size(1) do
         rows[i] = -twin.head(queries:narrow(1, i, 1):expand(supports:size(1), -1), supports)
      end
      return siamese.stack(rows)
   end
   if held then
      local result = metrics.few_shot(held, { embed = function(x) return twin:embed(x) end, way = 20,
         episodes = 100, distance = distance, groups = held.alphabets, seed = 1 })
      say("held-out alphabets, 20-way one-shot: %.2f %%", 100 * result.accuracy)
   end
   return twin, function(x) return twin:embed(x) end, distance
end

local function main()
   local began = siamese.clock()
   local o = parse(arg)
   siamese.manual_seed(o.seed)
   if o.threads then
      siamese.set_threads(o.threads)
   end
   local twin, embed, distance = (o.paper and run_paper or run_recipe)(o, began)
   if o.save then
      must(siamese.save(o.save, twin))
      say("saved: %s", o.save)
   end
   if o.noruns ~= 0 then
      return
   end
   local runs = load_runs(o)
   local result = metrics.lake_runs(runs, embed, { distance = distance })
   for i, run in ipairs(runs) do
      say("%s: %.0f %%", run.name, 100 * result.runs[i])
   end
   say("one-shot runs: %.2f %%", 100 * result.accuracy)
   say("total time: %.1f minutes", (siamese.clock() - began) / 60)
end

main()
