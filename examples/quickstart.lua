--- A twin learns characters that the library draws itself, and then recognises characters it has never
-- seen from one example each. Takes about a minute and a half on two cores; needs no data.
--
--    lua5.4 examples/quickstart.lua [--seconds 75] [--picture quickstart.png]
local siamese = require "siamese"
local data, image, metrics = siamese.data, siamese.image, siamese.metrics

local options = { seconds = 75, picture = "quickstart.png", seed = 1 }
for i = 1, #arg, 2 do
   local key = arg[i]:match("^%-%-(%a+)$")
   if not options[key or ""] or not arg[i + 1] then
      io.stderr:write("usage: quickstart.lua [--seconds N] [--picture FILE] [--seed N]\n")
      os.exit(2)
   end
   options[key] = tonumber(arg[i + 1]) or arg[i + 1]
end

siamese.manual_seed(options.seed)

-- 1. Data: 400 characters to learn from; 100 others that the twin never sees in training.
local size = 28
local known = data.glyphs{ classes = 400, samples = 20, size = size, seed = options.seed }
local unseen = data.glyphs{ classes = 100, samples = 20, size = size, seed = options.seed,
   first_class = 401 }
print(("drawn: %d pictures of %d characters; %d of %d others are kept for the test"):format(#known,
   #known.classes, #unseen, #unseen.classes))

-- 2. The twin: one encoder for both sides, Euclidean distance between unit embeddings.
local encoder = siamese.models.conv4()
encoder:append(siamese.nn.L2Normalize{})
local twin = siamese.Twin{ encoder = encoder, distance = "l2" }
print(("twin: %d parameters, %d threads"):format(twin:num_parameters(), siamese.get_threads()))

-- 3. Training: batches of 32 characters by 4 drawings, warped; each drawing finds its partners.
local warp = siamese.augment.Affine{ rotation = 10, shear = 0.15, scale = { 0.85, 1.15 },
   translation = 2, seed = options.seed }
local trained = assert(siamese.fit{
   model = twin, loss = siamese.losses.NTXent{}, set = known, augment = warp,
   data = function()
      return data.class_batches(known, { classes = 32, samples = 4, seed = options.seed })
   end,
   optimizer = siamese.optim.AdamW(twin:parameters(), { lr = 2e-3 }),
   schedule = "cosine", seconds = options.seconds, progress = "training",
})
print(("trained on %d drawings, %.0f a second"):format(trained.images, trained.images / trained.seconds))

-- 4. The test, on characters never seen: one example of each, then name new drawings.
twin:eval()
local function embed(x)
   return twin:embed(x)
end
for _, way in ipairs{ 5, 20 } do
   local ours = metrics.few_shot(unseen, { embed = embed, way = way, episodes = 400, seed = 1 })
   local pixels = metrics.few_shot(unseen, { embed = metrics.pixels, way = way, episodes = 400,
      seed = 1 })
   print(("%2d-way one-shot: %5.1f %% +- %.1f    pixels' nearest neighbour: %4.1f %% +- %.1f"):format(
      way, 100 * ours.accuracy, 100 * ours.interval, 100 * pixels.accuracy, 100 * pixels.interval))
end

-- 5. A picture: one 20-way trial, the answer marked, and some pairs with their distances.
local GREEN, RED, GREY = { 40, 160, 70 }, { 210, 50, 40 }, { 190, 190, 190 }

local function heading(text, width)
   local canvas = image.canvas(width, 22)
   image.text(canvas, 6, 8, text)
   return canvas
end

local function trial(width)
   local support, query, labels = data.episodes(unseen, { way = 20, seed = 8 })()
   local number = 7
   local asked = unseen:batch(query:narrow(1, number, 1))
   local examples = unseen:batch(support)
   local answer = twin:identify(asked, examples)[1]
   local right, frames, names = labels[number]:item(), {}, {}
   for i = 1, 20 do
      frames[i] = i == answer and (answer == right and GREEN or RED) or i == right and GREY
      names[i] = i == answer and "answer" or false
   end
   return { heading("Which of the twenty is this?", width),
      image.grid(1 - asked, { scale = 2, columns = 1 }),
      image.grid(1 - examples, { scale = 2, columns = 10, frames = frames, labels = names }) }
end

local function pairs_picture(width)
   local a, b, same = data.pairs(unseen, { batch_size = 8, seed = 5 })()
   local left, right = unseen:batch(a), unseen:batch(b)
   local distances = siamese.no_grad(twin.distance, twin, left, right)
   local both, names, frames = siamese.cat({ left, right }, 4), {}, {}
   for i = 1, 8 do
      names[i] = ("%.2f"):format(distances[i]:item())
      frames[i] = same[i]:item() == 1 and GREEN or RED
   end
   return { heading("Pairs and their distances: green is the same character, red another", width),
      image.grid(1 - both, { scale = 2, columns = 4, labels = names, frames = frames }) }
end

local sheets = trial(640)
table.move(pairs_picture(640), 1, 2, #sheets + 1, sheets)
assert(image.save(options.picture, image.stack(sheets)))
print("picture: " .. options.picture)
