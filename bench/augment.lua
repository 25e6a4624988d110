--- Pictures a second through siamese.augment and through torchvision.transforms.v2, measured in turn.
--
--    PYTHON=python3 lua5.4 bench/augment.lua [--threads N] [--seconds S] [--rounds R] [NAME...]
--
-- On float32 and uint8 tensors of three sizes. torchvision is asked both ways it can be used: transform by
-- transform for each picture, with numbers of its own, and once for a whole batch, which then has one and the
-- same numbers for all pictures; ours always draws for each picture. Without torchvision ours alone is timed.
-- The median of R rounds counts.
local siamese = require "siamese"

local augment = siamese.augment

local NAMES = { "affine", "affine nearest", "perspective", "elastic", "flip", "crop", "resized crop",
   "resize",
   "brightness", "contrast", "hue", "jitter", "grey", "invert", "noise", "blur 5", "blur 23", "erasing",
   "normalize", "drawings", "contrastive" }
local DATA = { { "float32", 128, 1, 28 }, { "float32", 64, 1, 105 }, { "uint8", 64, 1, 105 },
   { "float32", 32, 3, 224 }, { "uint8", 32, 3, 224 } }
local COLOURS = { hue = true }

local function jitter()
   return augment.ColorJitter{ brightness = 0.4, contrast = 0.4, saturation = 0.4, hue = 0.1 }
end

--- The transform of that name for pictures of that size, as make() in augment_peer.py.
local function make(name, size)
   local crop = size * 7 // 8
   local shapes = { degrees = 15, translate = { 0.1, 0.1 }, scale = { 0.9, 1.1 } }
   local makers = {
      affine = function()
         shapes.shear, shapes.interpolation = 5, "bilinear"
         return augment.RandomAffine(shapes)
      end,
      ["affine nearest"] = function() return augment.RandomAffine(shapes) end,
      perspective = function() return augment.RandomPerspective{ p = 1 } end,
      elastic = function() return augment.ElasticTransform{ alpha = 40, sigma = 4 } end,
      flip = function() return augment.RandomHorizontalFlip{ p = 1 } end,
      crop = function() return augment.RandomCrop{ size = crop, padding = 4 } end,
      ["resized crop"] = function() return augment.RandomResizedCrop{ size = crop } end,
      resize = function() return augment.Resize{ size = { crop, crop } } end,
      brightness = function() return augment.ColorJitter{ brightness = 0.4 } end,
      contrast = function() return augment.ColorJitter{ contrast = 0.4 } end,
      hue = function() return augment.ColorJitter{ hue = 0.1 } end,
      jitter = jitter,
      grey = function() return augment.RandomGrayscale{ p = 1 } end,
      invert = function() return augment.RandomInvert{ p = 1 } end,
      noise = function() return augment.GaussianNoise{ sigma = 0.1 } end,
      ["blur 5"] = function() return augment.GaussianBlur{ kernel_size = 5 } end,
      ["blur 23"] = function() return augment.GaussianBlur{ kernel_size = 23 } end,
      erasing = function() return augment.RandomErasing{ p = 1 } end,
      normalize = function()
         return augment.Compose{ augment.ToDtype{ dtype = "float32", scale = true },
            augment.Normalize{ mean = 0.5, std = 0.25 } }
      end,
      drawings = function()
         return augment.Compose{ augment.RandomAffine{ degrees = 10, translate = { 0.05, 0.05 },
            scale = { 0.8, 1.2 }, shear = 10, interpolation = "bilinear" },
            augment.GaussianNoise{ sigma = 0.05 } }
      end,
      contrastive = function()
         return augment.Compose{ augment.RandomResizedCrop{ size = crop, scale = { 0.2, 1 } },
            augment.RandomHorizontalFlip{}, augment.Sometimes(0.8, jitter()),
            augment.RandomGrayscale{ p = 0.2 },
            augment.Sometimes(0.5, augment.GaussianBlur{ kernel_size = size > 150 and 23 or 5 }),
            augment.ToDtype{ dtype = "float32", scale = true }, augment.Normalize{ mean = 0.5, std = 0.25 } }
      end,
   }
   return makers[name]()
end

-- The other side

local Peer = {}
Peer.__index = Peer

local function start_peer()
   local python, fifo = os.getenv("PYTHON") or "python3", os.tmpname()
   os.remove(fifo)
   if not os.execute("mkfifo " .. fifo) then
      return nil
   end
   local input = io.popen(python .. " bench/augment_peer.py > " .. fifo .. " 2>/dev/null", "w")
   local output = io.open(fifo)
   os.remove(fifo)
   return setmetatable({ input = input, output = output }, Peer)
end

function Peer:ask(...)
   self.input:write(table.concat({ ... }, " "), "\n")
   self.input:flush()
   local line = self.output:read()
   local state, value = (line or ""):match("^(%a+)%s+(.*)$")
   if state ~= "ok" then
      return nil, value
   end
   return tonumber(value) or value
end

-- Ours

local function clock()
   return siamese.core.clock()
end

local function time_ours(t, x, seconds)
   t(x):free()
   local start, count = clock(), 0
   repeat
      local _ <close> = t(x)
      count = count + 1
   until clock() - start >= seconds
   return (clock() - start) / count / x:size(1)
end

local function median(list)
   table.sort(list)
   return list[(#list + 1) // 2]
end

local function read_arguments()
   local o = { threads = 1, seconds = 0.2, rounds = 3 }
   local i = 1
   while arg[i] do
      local key = arg[i]:match("^%-%-(%a+)$")
      if key and o[key] then
         o[key] = tonumber(arg[i + 1]) or error("bench/augment.lua: --" .. key .. " takes a number")
         i = i + 1
      else
         o[#o + 1] = arg[i]
      end
      i = i + 1
   end
   return o, #o > 0 and table.pack(table.unpack(o)) or NAMES
end

local function pictures(dtype, n, c, size)
   local x = siamese.rand(n, c, size, size)
   return dtype == "uint8" and (x * 255):byte() or x
end

--- Median seconds a picture: ours, theirs one by one, theirs by batch.
local function measure(name, x, o, peer)
   local t = make(name, x:size(4))
   local ours, each, batch = {}, {}, {}
   for round = 1, o.rounds do
      ours[round] = time_ours(t, x, o.seconds)
      if peer then
         each[#each + 1] = peer:ask("run", name, "each", o.threads, o.seconds)
         batch[#batch + 1] = peer:ask("run", name, "batch", o.threads, o.seconds)
      end
   end
   return median(ours), median(each), median(batch)
end

local function rate(seconds)
   return seconds and ("%.0f"):format(1 / seconds) or "-"
end

local function main()
   local o, names = read_arguments()
   siamese.set_threads(o.threads // 1 | 0)
   siamese.manual_seed(0)
   local peer = start_peer()
   local version = peer and peer:ask("version")
   print(("%s; %s"):format(tostring(siamese), version or "no torchvision (PYTHON=...)"))
   local slower = 0
   for _, d in ipairs(DATA) do
      local x = pictures(table.unpack(d))
      if version then
         peer:ask("data", d[1], d[2], d[3], d[4], d[4])
      end
      print(("\n%s [%d,%d,%d,%d], pictures a second"):format(d[1], d[2], d[3], d[4], d[4]))
      print(("%-16s %10s %12s %12s %8s"):format("", "siamese", "torchvision", "by batch", "ratio"))
      for _, name in ipairs(names) do
         if d[3] == 3 or not COLOURS[name] then
            local ours, each, batch = measure(name, x, o, version and peer)
            local best = math.min(each or math.huge, batch or math.huge)
            slower = slower + (best < ours and 1 or 0)
            print(("%-16s %10s %12s %12s %8s"):format(name, rate(ours), rate(each), rate(batch),
               version and ("%.2f"):format(best / ours) or ""))
         end
      end
   end
   if version then
      print(("\nratio: to the faster of torchvision's ways. Behind it: %d"):format(slower))
      peer.input:write("quit\n")
   end
end

main()
