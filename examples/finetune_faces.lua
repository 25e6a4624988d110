--- A network that was trained on other pictures as a twin's encoder for faces: ResNet-20, trained on CIFAR-10
-- (ten classes of things and animals), three ways. What it is worth is measured, on people never seen.
--
--    lua5.4 examples/finetune_faces.lua --root DIR --weights FILE [--lfw DIR] [--seeds 5] [--steps 300]
--                                       [--seed 1] [--out finetune_faces.png] [--save FILE]
--
-- DIR holds ORL's `s1/1.pgm` ... `s40/10.pgm` (a folder `orl_faces` under DIR is found too); FILE is
-- resnet20_cifar10.safetensors. Each seed trains on other 30 of ORL's 40 people and tests on the 10 that are
-- left. With `--lfw` (a folder or a zip archive in LFW's layout) the same is done with Labeled Faces in the
-- Wild, View 1: trained on the people of peopleDevTrain, tested on pairsDevTest.
--
-- The three ways, each with the same number of steps on the same batches:
--
--    frozen      the features stay as they are, batch norm included; a linear layer on top is trained
--    fine-tuned  all of it is trained: the linear layer at once, then one stage after the other, from the
--                output to the input; the early stages have half the rate
--    scratch     the same network from random weights, one rate for all
--
-- A table gives means over the seeds with their standard errors, beside the same for plain pixels, and
-- differences between the ways seed by seed; a picture has the ROC curves. `--save` keeps the last fine-tuned
-- twin, with its preprocessing: it is read back and compares picture files.
local siamese = require "siamese"
local nn, data, metrics, augment = siamese.nn, siamese.data, siamese.metrics, siamese.augment

local WAYS = { "frozen", "fine-tuned", "scratch" }

local options = { seeds = 5, seed = 1, steps = 300, out = "finetune_faces.png", threads = 0 }
local FILES = { root = true, weights = true, lfw = true, save = true }

-- Command line.

local function usage(message)
   io.stderr:write("finetune_faces: ", message, "\nusage: finetune_faces.lua --root DIR --weights FILE",
      " [--lfw DIR] [--seeds N] [--seed N] [--steps N] [--out FILE] [--save FILE] [--threads N]\n")
   os.exit(2)
end

local function parse(arguments)
   for i = 1, #arguments, 2 do
      local key, value = arguments[i]:match("^%-%-(%a+)$"), arguments[i + 1]
      if not value or not (FILES[key or ""] or options[key or ""]) then
         usage("unknown or incomplete option " .. arguments[i])
      elseif type(options[key]) == "number" then
         value = math.tointeger(tonumber(value)) or usage(("--%s: '%s' is no whole number"):format(key,
            value))
      end
      options[key] = value
   end
   for _, key in ipairs{ "root", "weights" } do
      if not options[key] then
         usage("--" .. key .. " is missing")
      end
   end
   if options.seeds < 1 or options.steps < 1 then
      usage("--seeds and --steps must be at least 1")
   end
   return options
end

local function must(value, message)
   if not value then
      io.stderr:write("finetune_faces: ", message, "\n")
      os.exit(1)
   end
   return value
end

local function say(...)
   print((...):format(select(2, ...)))
   io.flush()
end

-- The network.

--- ResNet-20's features, averaged over the cells of a grid and not over the whole picture, since it matters
-- where in a face they are, and a linear layer to the embedding.
local FaceEncoder = nn.Module:extend("FaceEncoder")

function FaceEncoder:init(o)
   self.body, self.grid = o.body, o.grid
   self.embedding = nn.Linear{ in_features = o.body.out_features * o.grid[1] * o.grid[2],
      out_features = o.size }
end

--- x [N,3,H,W] to [N,size].
function FaceEncoder:forward(x)
   local maps = self.body:forward_features(x)
   return self.embedding(nn.functional.adaptive_avg_pool2d(maps, self.grid):flatten(2))
end

-- How a file of it says what is to be built.
siamese.record.register_class("FaceEncoder", FaceEncoder, function(net)
   return { body = siamese.record.of(net.body), grid = net.grid, size = net.embedding.weight:size(1) }
end, function(o)
   return FaceEncoder{ body = assert(siamese.record.build(o.body)), grid = o.grid, size = o.size }
end)

--- What the weights were trained with, at a size of our own. It is part of the twin and saved with it.
local function preprocessing(size)
   return siamese.Preprocess{ size = size, mode = "area", mean = { 0.485, 0.456, 0.406 },
      std = { 0.229, 0.224, 0.225 } }
end

local told

local function make_twin(way, task, o)
   local body, report = siamese.models.resnet20{ weights = way ~= "scratch" and o.weights or nil }
   must(body, report)
   local encoder = FaceEncoder{ body = body, grid = { 5, 4 }, size = 64 }
   if report and not told then
      told = true
      say("%s; new: embedding, a linear layer [%d,%d]", report, table.unpack(encoder.embedding.weight.shape))
   end
   return siamese.Twin{ encoder = encoder, distance = "cosine", preprocess = preprocessing(task.size) }
end

-- The three ways: an optimiser, and what unfreezes parts as training goes on.

local RATE, DECAY = 1e-3, 1e-3

local PREPARE = {
   frozen = function(net)
      net.body:freeze()
      return siamese.optim.AdamW(net:parameters(), { lr = 3 * RATE, weight_decay = DECAY })
   end,
   ["fine-tuned"] = function(net)
      local thaw = net:gradual_unfreezing{ stages = { "embedding", "body.layer3", "body.layer2",
         { "body.layer1", "body.conv1", "body.bn1" } } }
      local groups = net:parameter_groups{ { "embedding", "body.layer3", lr = RATE } }
      return siamese.optim.AdamW(groups, { lr = RATE / 2, weight_decay = DECAY }), thaw
   end,
   scratch = function(net)
      return siamese.optim.AdamW(net:parameters(), { lr = RATE, weight_decay = DECAY })
   end,
}

local THAWED = 0.3 -- by this share of the steps all stages are trained

local function train(way, task, seed, o)
   siamese.manual_seed(seed)
   local twin = make_twin(way, task, o)
   local optimizer, thaw = PREPARE[way](twin.encoder)
   local vary = augment.Compose{ augment.RandomHorizontalFlip{},
      augment.ColorJitter{ brightness = 0.2, contrast = 0.2 }, augment.RandomAffine{ degrees = 8,
      translate = { 0.06, 0.06 }, scale = { 0.9, 1.1 }, interpolation = "bilinear" }, seed = seed }
   must(siamese.fit{
      model = twin, loss = siamese.losses.NTXent{}, set = task.train,
      augment = function(images)
         return twin.preprocess(vary(images))
      end,
      data = function()
         return data.class_batches(task.train, { classes = 15, samples = 4, seed = seed })
      end,
      optimizer = optimizer, schedule = "cosine", warmup = 10, steps = o.steps,
      callbacks = thaw and { on_step_begin = function(state)
         thaw(1 + math.floor(math.min(3, 3 * state.progress / THAWED)))
      end } or nil, progress = ("%s, seed %d, %s"):format(task.name, seed, way),
   })
   return twin:eval()
end

-- The test.

local RATES = {} -- of false accepts, at which the curves are drawn
for i = 0, 60 do
   RATES[i + 1] = 10 ^ (-2 + 2 * i / 60)
end

--- Distances of a task's pairs, and which are of one person.
local function pair_distances(task, embed)
   if not task.pairs then
      return metrics.all_pairs(metrics.embed_all(embed, task.test), task.test.labels)
   end
   local parts = {}
   for a, b in task.pairs:batches{ batch_size = 250 } do
      parts[#parts + 1] = siamese.no_grad(function()
         return (embed(task.pairs.set:batch(a)) - embed(task.pairs.set:batch(b))):square():sum(2)
      end)
   end
   return siamese.cat(parts, 1), task.pairs.same
end

local function measure(task, embed, seed)
   local distances, same = pair_distances(task, embed)
   local curve = {}
   for i, at in ipairs(metrics.tar_at_far(distances, same, RATES)) do
      curve[i] = at.tar
   end
   return { auc = metrics.auc(distances, same), eer = 100 * metrics.equal_error_rate(distances, same),
      oneshot = 100 * metrics.few_shot(task.test, { embed = embed, way = 10, episodes = 400,
         seed = seed }).accuracy, curve = curve }
end

--- Embeddings of length 1: their Euclidean distance goes by the cosine.
local function unit_embedding(twin)
   return function(images)
      return nn.functional.normalize(twin:embed(twin.preprocess(images)), 2)
   end
end

-- Data.

--- ORL: other people for each seed.
local function orl_task(o)
   local size = { 40, 32 }
   local faces, message = data.orl(o.root, { size = size })
   faces = faces or data.orl(o.root .. "/orl_faces", { size = size })
   must(faces, message)
   return { name = "ORL", size = size, split = function(task, seed)
      task.train, task.test = data.split_classes(faces, { 30, 10 }, { seed = seed })
   end }
end

--- LFW, View 1: the people and the pairs are given.
local function lfw_task(o)
   local size = { 40, 40 }
   local lfw = must(data.lfw(o.lfw, { size = size }))
   return { name = "LFW", size = size, split = function() end, train = must(lfw:people("peopleDevTrain")),
      test = must(lfw:people("peopleDevTest")), pairs = must(lfw:pairs("pairsDevTest")) }
end

-- The report.

local COLUMNS = { { "auc", "AUC", "%.4f" }, { "eer", "EER %", "%.2f" }, { "oneshot", "one-shot %", "%.2f" } }

--- The mean of a list and its standard error, s / sqrt(n).
local function mean_and_error(list)
   local mean, half = metrics.interval(list)
   return mean, half / 1.96
end

local function line(task, name, lists, sign)
   local cells = { ("%-4s %-23s"):format(task, name) }
   for _, column in ipairs(COLUMNS) do
      local mean, err = mean_and_error(lists[column[1]])
      local format = (sign and "%+" or "%") .. column[3]:sub(2)
      local text = #lists.auc > 1 and (format .. " +- " .. column[3]):format(mean, err) or format:format(mean)
      cells[#cells + 1] = ("%17s"):format(text)
   end
   say("%s", table.concat(cells))
end

local function columns_of(runs, minus)
   local lists = {}
   for _, column in ipairs(COLUMNS) do
      local key, list = column[1], {}
      for i, run in ipairs(runs) do
         list[i] = run[key] - (minus and minus[i][key] or 0)
      end
      lists[key] = list
   end
   return lists
end

local DIFFERENCES = { { "fine-tuned", "frozen" }, { "fine-tuned", "scratch" }, { "frozen", "scratch" } }

local function print_table(tasks, seeds)
   say("\n%-28s%17s%17s%17s", ("%d seed(s)"):format(seeds), COLUMNS[1][2], COLUMNS[2][2], COLUMNS[3][2])
   for _, task in ipairs(tasks) do
      line(task.name, "pixels", columns_of(task.results.pixels))
      for _, way in ipairs(WAYS) do
         line(task.name, way, columns_of(task.results[way]))
      end
      for _, pair in ipairs(DIFFERENCES) do
         line(task.name, pair[1] .. " - " .. pair[2],
            columns_of(task.results[pair[1]], task.results[pair[2]]), true)
      end
   end
   say("means over the seeds +- standard errors; differences are taken seed by seed")
end

--- The share of same pairs accepted, at each rate of false accepts the mean over the seeds.
local function mean_curve(runs)
   local mean = {}
   for i = 1, #RATES do
      mean[i] = 0
      for _, run in ipairs(runs) do
         mean[i] = mean[i] + run.curve[i] / #runs
      end
   end
   return mean
end

local function draw(tasks, path)
   local frames, logs = {}, {}
   for i, rate in ipairs(RATES) do
      logs[i] = math.log(rate, 10)
   end
   for k, task in ipairs(tasks) do
      local curves = {}
      for i, way in ipairs{ "fine-tuned", "scratch", "frozen", "pixels" } do
         local auc = mean_and_error(columns_of(task.results[way]).auc)
         curves[i] = { x = logs, y = mean_curve(task.results[way]),
            label = ("%s: AUC %.3f"):format(way, auc) }
      end
      frames[k] = siamese.figure.curves(curves, { title = task.name .. ": true accepts by false accepts",
         x_label = "log10 of the rate of false accepts", y_range = { 0, 1 }, height = 320 })
   end
   must(siamese.image.save(path, siamese.image.stack(frames)))
   say("picture: %s", path)
end

--- Writes the twin, reads it back, and lets it look at two files as they are.
local function keep(twin, o)
   must(siamese.save(o.save, twin))
   local again = must(siamese.load_model(o.save))
   say("saved: %s, which knows %s", o.save, again.preprocess)
   local folder = siamese.core.path_kind(o.root .. "/s1") == "folder" and o.root or o.root .. "/orl_faces"
   for _, other in ipairs{ "s1/2.pgm", "s2/1.pgm" } do
      local distance = must(siamese.no_grad(again.distance, again, folder .. "/s1/1.pgm",
         folder .. "/" .. other))
      say("distance of s1/1.pgm and %s: %.3f", other, distance:item())
   end
end

local function run_seed(task, seed, o)
   task:split(seed)
   table.insert(task.results.pixels, measure(task, metrics.pixels, seed))
   for _, way in ipairs(WAYS) do
      local twin = train(way, task, seed, o)
      local result = measure(task, unit_embedding(twin), seed)
      table.insert(task.results[way], result)
      say("%s, seed %d, %s: AUC %.4f, EER %.1f %%, 10-way one-shot %.1f %%", task.name, seed, way, result.auc,
         result.eer, result.oneshot)
      task.twin = way == "fine-tuned" and twin or task.twin
   end
end

local function main()
   local o = parse(arg)
   if o.threads > 0 then
      siamese.set_threads(o.threads)
   end
   local began = siamese.clock()
   local tasks = { orl_task(o), o.lfw and lfw_task(o) or nil }
   for _, task in ipairs(tasks) do
      task.results = { pixels = {}, frozen = {}, ["fine-tuned"] = {}, scratch = {} }
      for seed = o.seed, o.seed + o.seeds - 1 do
         run_seed(task, seed, o)
      end
   end
   print_table(tasks, o.seeds)
   draw(tasks, o.out)
   if o.save then
      keep(tasks[1].twin, o)
   end
   say("total time: %.1f minutes", (siamese.clock() - began) / 60)
end

main()
