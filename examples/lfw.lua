--- Faces in the wild: trains a twin from scratch on the people of LFW's development set and tests it on pairs
-- of people never seen, as View 1 of its protocol says.
--
--    lua5.4 examples/lfw.lua --root DIR [--steps 5000] [--seed 1] [--holdout PART] [--save FILE] [--roc FILE]
--
-- DIR is a folder or an archive of the published layout (NAME/NAME_NNNN.jpg, pairsDevTest.txt, ...). Trained
-- on are the people of peopleDevTrain.txt that have two pictures or more; tested on are the 1,000 pairs of
-- pairsDevTest.txt, whose people are others. With `--holdout 0.15` that part of the training people is held
-- out and tested on instead: for choosing among recipes, so that the test's pairs have no say in it. `--save`
-- keeps the twin, `--roc` draws its curve.
--
-- The recipe: a residual network of nine convolutions on the middle of the picture, 48 x 48 in colour;
-- batches of 32 people with 4 pictures each, which are mirrored, moved, lit and partly hidden at random by
-- the loader's workers; NT-Xent on cosines; AdamW with a rate that falls along a cosine. An embedding is the
-- mean over a picture and its mirror image. The accuracy is that of each tenth of the pairs at the threshold
-- that is best on the other nine.
local siamese = require "siamese"
local augment, data, metrics, models, nn = siamese.augment, siamese.data, siamese.metrics, siamese.models,
   siamese.nn
local F = siamese.F

local SIZE, LOADED = 48, 58 -- pixels that the network sees, of so many; the rest is hair and background
local PEOPLE, PICTURES = 32, 4

-- Command line

local function fail(status, ...)
   io.stderr:write("lfw: ", ...)
   io.stderr:write("\n")
   os.exit(status)
end

local function usage(message)
   fail(2, message, "\nusage: lfw.lua --root DIR [--steps N] [--seed N] [--threads N]",
      " [--holdout PART] [--save FILE] [--roc FILE]")
end

local function must(value, message)
   return value == nil and fail(1, message) or value
end

local function parse(arguments)
   local o = { steps = 5000, seed = 1, threads = siamese.get_threads(), holdout = 0, width = 32,
      blocks = 1, rate = 1e-3, decay = 5e-2, temperature = 0.1 }
   local texts = { root = true, save = true, roc = true }
   for i = 1, #arguments, 2 do
      local key, value = arguments[i]:match("^%-%-(%a+)$"), arguments[i + 1]
      if not value or not (texts[key or ""] or o[key or ""]) then
         usage("unknown or incomplete option " .. arguments[i])
      end
      o[key] = texts[key] and value or math.tointeger(value) or tonumber(value)
         or usage(arguments[i] .. " wants a number")
   end
   return o.root and o or usage("--root is missing")
end

-- Data

--- The people with so many pictures.
local function with_pictures(set, least)
   local keep = {}
   for class, count in ipairs(set:counts()) do
      if count >= least then
         keep[#keep + 1] = class
      end
   end
   return set:select_classes(keep)
end

--- So many pairs, half of them of the same person.
local function balanced_pairs(set, count)
   local a, b, same = data.pairs(set, { batch_size = count, batches = 1, seed = 1 })()
   return data.pair_list{ set = set, a = a, b = b, same = same, name = "people held out" }
end

--- The set to train on and the pairs to test on.
local function open(o)
   local lfw = must(data.lfw(o.root, { size = LOADED }))
   local train = with_pictures(must(lfw:people("peopleDevTrain")), 2)
   if o.holdout > 0 then
      local held
      train, held = data.split_classes(train, { 1 - o.holdout, o.holdout }, { seed = 1 })
      return train, balanced_pairs(held, 2000)
   end
   return train, must(lfw:pairs("pairsDevTest"))
end

local MEAN, STD = { 0.5, 0.5, 0.5 }, { 0.25, 0.25, 0.25 }
local NORMALIZE = augment.Normalize{ mean = MEAN, std = STD }

local function varied(seed)
   return augment.Compose{
      augment.RandomHorizontalFlip{},
      augment.RandomAffine{ degrees = 8, translate = { 0.06, 0.06 }, scale = { 0.9, 1.15 },
         interpolation = "bilinear" },
      augment.CenterCrop{ size = SIZE },
      augment.ColorJitter{ brightness = 0.3, contrast = 0.3, saturation = 0.3 },
      augment.RandomGrayscale{ p = 0.1 },
      NORMALIZE,
      augment.RandomErasing{ p = 0.2, scale = { 0.02, 0.25 } },
      seed = seed,
   }
end

-- The network

local function stage(cin, width, blocks)
   local layers = {}
   for i = 1, blocks do
      local first = i == 1 and cin ~= width
      local shortcut = first and nn.Sequential{ nn.Conv2d{ in_channels = cin, out_channels = width,
         kernel_size = 1, stride = 2, bias = false }, nn.BatchNorm2d{ num_features = width } } or nil
      layers[i] = models.BasicBlock(first and cin or width, width, first and 2 or 1, shortcut)
   end
   return nn.Sequential(layers)
end

local function encoder(o)
   local w, last = o.width, SIZE // 16
   return nn.Sequential{
      nn.Conv2d{ in_channels = 3, out_channels = w, kernel_size = 3, stride = 2, padding = 1, bias = false },
      nn.BatchNorm2d{ num_features = w }, nn.ReLU{},
      stage(w, w, o.blocks), stage(w, 2 * w, o.blocks), stage(2 * w, 4 * w, o.blocks),
      stage(4 * w, 8 * w, o.blocks), nn.Flatten{}, nn.Dropout{ p = 0.2 },
      nn.Linear{ in_features = 8 * w * last * last, out_features = 128, bias = false },
      nn.BatchNorm1d{ num_features = 128 } }
end

local function train(twin, set, o)
   local seeds = siamese.Generator(o.seed)
   local transform = varied(o.seed)
   return must(siamese.fit{ model = twin, loss = siamese.losses.NTXent{ temperature = o.temperature },
      data = function()
         local sampler = data.class_batches(set, { classes = math.min(PEOPLE, #set.classes),
            samples = PICTURES, seed = seeds:random(math.maxinteger) })
         return data.loader(set, { sampler = sampler, augment = transform })
      end,
      optimizer = siamese.optim.AdamW(twin:parameters(), { lr = o.rate, weight_decay = o.decay }),
      schedule = "cosine", warmup = math.min(100, o.steps // 10), steps = o.steps, progress = "training" })
end

-- The test

local function unit_embedding(twin)
   local view = augment.Compose{ augment.CenterCrop{ size = SIZE }, NORMALIZE }
   local mirrored = siamese.arange(SIZE, 0, -1, { dtype = "int64" })
   return function(images)
      local x = view(images)
      local both = F.normalize(twin:embed(x), 2) + F.normalize(twin:embed(x:index_select(4, mirrored)), 2)
      return F.normalize(both, 2)
   end
end

local function report(name, embed, pairs)
   local embedded = metrics.embed_all(embed, pairs.set)
   local apart = embedded:index_select(1, pairs.a) - embedded:index_select(1, pairs.b)
   local distances, folds = apart:pow(2):sum(2), {}
   for i = 1, #pairs do -- the lists begin with all that are the same; each fold gets some of both
      folds[i] = i % 10 + 1
   end
   local r = metrics.verification_folds(distances, pairs.same, { folds = folds })
   print(("%-8s accuracy %.2f %% +- %.2f, AUC %.4f, EER %.2f %%"):format(name, 100 * r.accuracy,
      100 * r.standard_error, r.auc, 100 * r.equal_error_rate))
   local roc = metrics.verification(distances, pairs.same)
   return { x = roc.false_positive_rate, y = roc.true_positive_rate,
      label = ("%s, AUC %.4f"):format(name, r.auc) }
end

local function main()
   local o = parse(arg)
   siamese.manual_seed(o.seed)
   siamese.set_threads(o.threads)
   local set, pairs = open(o)
   print(("%d pictures of %d people to train on; %s"):format(#set, #set.classes, tostring(pairs)))
   local twin = siamese.Twin{ encoder = encoder(o), distance = "cosine",
      preprocess = siamese.Preprocess{ size = SIZE, resize = LOADED, mean = MEAN, std = STD } }
   print(("%d parameters, %d threads"):format(twin:num_parameters(), siamese.get_threads()))
   local result = train(twin, set, o)
   print(("trained on %d pictures, %.0f a second"):format(result.images, result.images / result.seconds))
   twin:eval()
   local curves = { report("twin", unit_embedding(twin), pairs), report("pixels", metrics.pixels, pairs) }
   if o.save then
      must(siamese.save(o.save, twin))
   end
   if o.roc then
      must(siamese.image.save(o.roc, siamese.figure.curves(curves, { title = "true accepts",
         x_label = "false accepts" })))
   end
end

main()
