--- The loader: steps a second that training makes with it, beside batches that lie in memory, and pictures a
-- second that it gives alone, beside PyTorch's DataLoader.
--
--    lua5.4 bench/loader.lua [--seconds S] [--rounds R] [--threads N] [--workers N] [NAME...]
--
-- NAMES are cases (omniglot28, omniglot105, lfw64, lfw112); all by default. Each way of feeding the step gets
-- its turn in each round, A B C A B C, and the median of the rounds counts:
--
--    memory     batches that were made before, nothing is done but the step
--    set        set:batch(indices) of a set in memory
--    files      data.loader, decoding every time
--    zip        the same out of the archive
--    cache      data.loader with cache = true, from the second epoch on
--    warped     data.loader that decodes and warps; "memory" does not
--
-- PYTHON names a Python with torch, torchvision and Pillow for the other table, pictures a second alone.
local siamese = require "siamese"

local data, nn = siamese.data, siamese.nn
local root = os.getenv("SIAMESE_DATA") or "../shared/data"
local unpacked = os.getenv("SIAMESE_UNPACKED") or "build/data"

local function parse(arguments)
   local o, i = { seconds = 0.5, rounds = 31, threads = siamese.get_threads(), names = {} }, 1
   while i <= #arguments do
      local key = arguments[i]:match("^%-%-(%a+)$")
      if key and arguments[i + 1] then
         o[key] = math.tointeger(arguments[i + 1]) or tonumber(arguments[i + 1])
         i = i + 1
      else
         o.names[arguments[i]] = true
      end
      i = i + 1
   end
   return o
end

-- Cases

local function conv4(channels)
   local layers, cin = {}, channels
   for _ = 1, 4 do
      layers[#layers + 1] = nn.Conv2d{ in_channels = cin, out_channels = 64, kernel_size = 3, padding = 1,
         bias = false }
      layers[#layers + 1] = nn.BatchNorm2d{ num_features = 64 }
      layers[#layers + 1] = nn.ReLU{}
      layers[#layers + 1] = nn.MaxPool2d{ kernel_size = 2 }
      cin = 64
   end
   layers[#layers + 1] = nn.Flatten{}
   return nn.Sequential(layers)
end

local function omniglot(size)
   return { size = size, channels = 1, classes = 32, samples = 4,
      folder = unpacked .. "/omniglot/images_background", zip = root .. "/omniglot/images_background.zip",
      open = function(path, opts)
         return assert(data.omniglot(path, opts))
      end }
end

local function lfw(size)
   return { size = size, channels = 3, classes = 16, samples = 2, folder = unpacked .. "/lfw",
      zip = root .. "/lfw/lfw_view1_112.zip", open = function(path, opts)
         return assert(data.folder(path, opts))
      end }
end

local CASES = { { "omniglot28", omniglot(28) }, { "omniglot105", omniglot(105) }, { "lfw64", lfw(64) },
   { "lfw112", lfw(112) } }

-- Feeding

local function sampler(case, set)
   return data.class_batches(set, { classes = case.classes, samples = case.samples, seed = 1 })
end

--- Functions that give the next images and labels.
local feeds = {}

function feeds.memory(case, o)
   local batches, at = {}, 0
   for images, labels in data.loader(o.stream, { sampler = sampler(case, o.stream), seed = 1 }) do
      batches[#batches + 1] = { images, labels }
      if #batches == 8 then
         break
      end
   end
   return function()
      at = at % #batches + 1
      return batches[at][1], batches[at][2]
   end
end

function feeds.set(case, o)
   local draw = sampler(case, o.memory)
   return function()
      local indices = draw()
      return o.memory:batch(indices)
   end
end

local function loader(case, set, opts)
   opts.sampler, opts.workers, opts.seed = sampler(case, set), opts.workers, 1
   return data.loader(set, opts)
end

function feeds.files(case, o)
   return loader(case, o.stream, { workers = o.workers })
end

function feeds.zip(case, o)
   return loader(case, o.zip, { workers = o.workers })
end

function feeds.cache(case, o)
   for _ in data.loader(o.kept, { cache = true, batch_size = 256 }) do -- luacheck: ignore 542
   end
   return loader(case, o.kept, { workers = o.workers, cache = true })
end

function feeds.warped(case, o)
   return loader(case, o.stream, { workers = o.workers, augment = siamese.augment.RandomAffine{ degrees = 10,
      scale = { 0.9, 1.1 }, translate = { 0.05, 0.05 }, interpolation = "bilinear" } })
end

local WAYS = { "memory", "set", "files", "zip", "cache", "warped" }

-- Measuring

local function median(list)
   table.sort(list)
   return list[(#list + 1) // 2]
end

--- Steps a second for some seconds.
local function steps(feed, train, seconds)
   local count, start = 0, nil
   for warm = 1, 2 do
      train(feed())
      start = warm == 2 and siamese.clock()
   end
   repeat
      train(feed())
      count = count + 1
   until siamese.clock() - start >= seconds
   return count / (siamese.clock() - start)
end

local function trainer(case)
   siamese.manual_seed(1)
   local net = conv4(case.channels)
   local twin = siamese.Twin{ encoder = net, distance = "cosine" }
   local loss = siamese.losses.NTXent{}
   local optimiser = siamese.optim.SGD(twin:parameters(), { lr = 1e-3, momentum = 0.9 })
   return function(images, labels)
      optimiser:zero_grad()
      loss(twin:embed(images), labels):backward()
      optimiser:step()
   end
end

local function measure_steps(name, case, o)
   local form = { size = case.size, channels = case.channels }
   o.memory = case.open(case.folder, form)
   form.stream = true
   o.stream, o.kept, o.zip = case.open(case.folder, form), case.open(case.folder, form),
      case.open(case.zip, form)
   local rates, train, made = {}, trainer(case), {}
   for _ = 1, o.rounds do
      for _, way in ipairs(WAYS) do
         made[way] = made[way] or feeds[way](case, o)
         rates[way] = rates[way] or {}
         table.insert(rates[way], steps(made[way], train, o.seconds))
         if way ~= "memory" and way ~= "set" then
            made[way]:stop()
         end
      end
   end
   local base, batch = median(rates.memory), case.classes * case.samples
   print(("%s: conv4, %d pictures a step, %d threads, %d workers"):format(name, batch, o.threads,
      o.workers or math.min(o.threads, 8)))
   for _, way in ipairs(WAYS) do
      local rate = median(rates[way])
      print(("  %-7s %8.2f steps/s  %8.0f pictures/s  %6.1f %%"):format(way, rate, rate * batch,
         100 * rate / base))
   end
end

--- Pictures a second that the loader gives when nobody trains.
local function alone(set, opts)
   local n, start = 0, siamese.clock()
   for images in data.loader(set, opts) do
      n = n + images:size(1)
   end
   return n / (siamese.clock() - start)
end

local function ask_peer(case, o)
   local python = os.getenv("PYTHON") or "python3"
   local pipe = io.popen(("%s bench/loader_peer.py '%s' %d %d %d 2>/dev/null"):format(python, case.folder,
      case.size, case.channels, o.threads))
   local answer = pipe and pipe:read("a") or ""
   if pipe then
      pipe:close()
   end
   return answer:match("workers0 ([%d.]+)"), answer:match("workersN ([%d.]+)")
end

local function measure_alone(name, case, o)
   local best = { files = 0, zip = 0, cache = 0 }
   for round = 1, o.rounds do
      local opts = { batch_size = 128, workers = o.workers, seed = round }
      best.files = math.max(best.files, alone(o.stream, opts))
      best.zip = math.max(best.zip, alone(o.zip, opts))
      opts.cache = true
      best.cache = math.max(best.cache, alone(o.kept, opts))
   end
   print(("  alone:  files %.0f, zip %.0f, cache %.0f pictures/s"):format(best.files, best.zip, best.cache))
   local none, many = ask_peer(case, o)
   if none then
      print(("  PyTorch's DataLoader: %.0f in the process, %.0f with %d workers; files are %.1f times that")
         :format(none, many, o.threads, best.files / math.max(none, many)))
   else
      print(("  %s: no torchvision here, our half alone"):format(name))
   end
end

local o = parse(arg)
siamese.set_threads(o.threads)
for _, entry in ipairs(CASES) do
   local name, case = entry[1], entry[2]
   if not next(o.names) or o.names[name] then
      if siamese.path_kind(case.folder) ~= "folder" then
         print(("%s: %s is absent (tools/data.sh unpacks it)"):format(name, case.folder))
      else
         measure_steps(name, case, o)
         measure_alone(name, case, o)
         o.memory, o.stream, o.kept, o.zip = nil, nil, nil, nil
         collectgarbage()
      end
   end
end
