--- Faces of people never seen: trains a twin on 30 of the 40 people of the ORL / AT&T set and tests it on the
-- other 10. Takes about three minutes on two cores.
--
--    lua5.4 examples/orl_faces.lua --root DIR [--minutes 2] [--seed 1]
--
-- DIR holds `s1/1.pgm` ... `s40/10.pgm` (a folder `orl_faces` under DIR is found too). Prints, for the 10
-- people: the area under the ROC curve and the equal error rate over all pairs of their pictures, and
-- 10-way one-shot identification (one picture of each person known), beside the same for plain pixels.
local siamese = require "siamese"
local nn, data, metrics = siamese.nn, siamese.data, siamese.metrics

local function usage(message)
   io.stderr:write("orl_faces: ", message, "\nusage: orl_faces.lua --root DIR [--minutes N] [--seed N]\n")
   os.exit(2)
end

local options = { minutes = 2, seed = 1 }
for i = 1, #arg, 2 do
   local key, value = arg[i]:match("^%-%-(%a+)$"), arg[i + 1]
   if not value or not (key == "root" or options[key or ""]) then
      usage("unknown or incomplete option " .. arg[i])
   end
   options[key] = key == "root" and value or tonumber(value) or usage(arg[i] .. " wants a number")
end
if not options.root then
   usage("--root is missing")
end

local faces, message = data.orl(options.root, { size = { 56, 46 } })
if not faces then
   faces = data.orl(options.root .. "/orl_faces", { size = { 56, 46 } })
end
if not faces then
   io.stderr:write("orl_faces: ", message, "\n")
   os.exit(1)
end

siamese.manual_seed(options.seed)
local train, test = data.split_classes(faces, { 30, 10 }, { seed = options.seed })
print(("%d pictures of %d people to train on, %d of %d people never seen"):format(#train,
   #train.classes, #test, #test.classes))

local function block(cin, cout)
   return nn.Sequential{
      nn.Conv2d{ in_channels = cin, out_channels = cout, kernel_size = 3, padding = 1, bias = false },
      nn.BatchNorm2d{ num_features = cout }, nn.ReLU{}, nn.MaxPool2d{ kernel_size = 2 } }
end

local encoder = nn.Sequential{ block(1, 32), block(32, 64), block(64, 64), block(64, 64), nn.Flatten{},
   nn.Dropout{ p = 0.3 }, nn.Linear{ in_features = 64 * 3 * 2, out_features = 64 }, nn.L2Normalize{} }
local twin = siamese.Twin{ encoder = encoder, distance = "l2" }

local warp = siamese.augment.Affine{ rotation = 8, shear = 0.08, scale = { 0.9, 1.1 }, translation = 3,
   seed = options.seed }

--- Warped, mirrored half of the time, and lit a little differently.
local function vary(images)
   local mirrored = siamese.rand(images:size(1), 1, 1, 1):lt(0.5)
   local n = images:size(4)
   local order = siamese.arange(n, 0, -1, { dtype = "int64" })
   images = siamese.where(mirrored, images:index_select(4, order), images)
   local gain = siamese.rand(images:size(1), 1, 1, 1) * 0.4 + 0.8
   return warp(images * gain)
end

local trained = assert(siamese.fit{
   model = twin, loss = siamese.losses.NTXent{}, set = train, augment = vary,
   data = function()
      return data.class_batches(train, { classes = 30, samples = 4, seed = options.seed })
   end,
   optimizer = siamese.optim.AdamW(twin:parameters(), { lr = 1e-3, weight_decay = 1e-3 }),
   schedule = "cosine", seconds = 60 * options.minutes, progress = "training",
})
print(("trained on %d pictures, %.0f a second"):format(trained.images, trained.images / trained.seconds))
twin:eval()

local function report(name, embed)
   local distances, same = metrics.all_pairs(metrics.embed_all(embed, test.images), test.labels)
   local oneshot = metrics.few_shot(test, { embed = embed, way = 10, episodes = 400, seed = 1 })
   print(("%-8s verification AUC %.4f, EER %4.1f %%; 10-way one-shot %5.1f %% +- %.1f"):format(name,
      metrics.auc(distances, same), 100 * metrics.equal_error_rate(distances, same),
      100 * oneshot.accuracy, 100 * oneshot.interval))
end

report("twin", function(x) return twin:embed(x) end)
report("pixels", metrics.pixels)
