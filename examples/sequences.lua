--- Twins need not see pictures: a recurrent encoder learns gestures, as the pen made them, and then
-- recognises gestures that it has never seen from one example each. Needs no data; 45 seconds of one core.
--
--    lua5.4 examples/sequences.lua [--steps 1000] [--cell lstm] [--seed 1] [--threads N]
--
-- A gesture is a class: one to three strokes. A writer draws it in his own slant, size and speed, with an
-- unsteady hand, so that it has 6 to 70 steps (dx, dy, pen), where pen is 1 on paper and 0 in the air. The
-- gestures and the writers of the test are others than those of training.
--
-- Two twins of `siamese.models.sequence_encoder` (`--cell lstm` or `gru`) are trained:
--
--    batches     NT-Xent on cosines, on batches of 20 gestures by 4 writers
--    manhattan   on pairs, as Mueller and Thyagarajan 2016 ("Siamese recurrent architectures for learning
--                sentence similarity", section 3.2): the similarity exp(-|h_a - h_b|_1) of the last states
--                goes to 1 for same pairs and to 0 for others, by its squared error
--
-- beside them two ways without training, on the pen's positions, centred and of one size: nearest neighbour
-- on 32 points at equal distances along the path, and dynamic time warping (Sakoe and Chiba 1978).
local siamese = require "siamese"
local data, metrics, models = siamese.data, siamese.metrics, siamese.models

local options = { steps = 1000, cell = "lstm", seed = 1, threads = 0 }

local function usage(message)
   io.stderr:write("sequences: ", message,
      "\nusage: sequences.lua [--steps N] [--cell lstm|gru] [--seed N] [--threads N]\n")
   os.exit(2)
end

local function parse(arguments)
   for i = 1, #arguments, 2 do
      local key, value = arguments[i]:match("^%-%-(%a+)$"), arguments[i + 1]
      if not options[key or ""] or not value then
         usage("unknown or incomplete option " .. arguments[i])
      elseif key == "cell" then
         options.cell = (value == "lstm" or value == "gru") and value or usage("--cell must be lstm or gru")
      else
         options[key] = math.tointeger(tonumber(value)) or usage(("--%s: '%s' is no whole number"):format(key,
            value))
      end
   end
   return options.steps >= 1 and options or usage("--steps must be at least 1")
end

-- 1. Gestures.

local function between(generator, low, high)
   return low + (high - low) * generator:uniform()
end

--- A gesture: strokes of 3 to 5 points {x, y}; a pen's walk that turns.
local function draw_gesture(generator)
   local strokes = {}
   for s = 1, generator:random(3) do
      local heading, turn = between(generator, 0, 2 * math.pi), between(generator, -1.3, 1.3)
      local x, y = between(generator, -0.5, 0.5), between(generator, -0.5, 0.5)
      strokes[s] = { { x, y } }
      for i = 2, 2 + generator:random(3) do
         x, y = x + 0.5 * math.cos(heading), y + 0.5 * math.sin(heading)
         heading = heading + turn + between(generator, -0.8, 0.8)
         strokes[s][i] = { x, y }
      end
   end
   return strokes
end

--- A writer: how what he draws is turned, slanted and stretched, how fast he is, how unsteady his hand.
local function make_writer(generator)
   local angle, slant = between(generator, -0.5, 0.5), between(generator, -0.6, 0.6)
   local wide, high = between(generator, 0.6, 1.4), between(generator, 0.6, 1.4)
   return { a = wide * math.cos(angle), b = high * (slant * math.cos(angle) - math.sin(angle)),
      c = wide * math.sin(angle), d = high * (slant * math.sin(angle) + math.cos(angle)),
      points = between(generator, 3, 6), rush = between(generator, 0.6, 1.6),
      jitter = between(generator, 0.05, 0.12), tremor = between(generator, 0, 0.015) }
end

--- The writer's version of a stroke's points: moved a little, then turned, slanted and stretched.
local function by_hand(generator, writer, stroke)
   local out = {}
   for i, p in ipairs(stroke) do
      local x, y = p[1] + writer.jitter * generator:normal(), p[2] + writer.jitter * generator:normal()
      out[i] = { writer.a * x + writer.b * y, writer.c * x + writer.d * y }
   end
   return out
end

--- The Catmull-Rom curve through points, at u from 0 to #points - 1 (Catmull and Rom 1974).
local function curve(points, u)
   local i = math.min(math.floor(u) + 1, #points - 1)
   local t, out = u - (i - 1), {}
   local before, after = points[math.max(1, i - 1)], points[math.min(#points, i + 2)]
   for k = 1, 2 do
      local a, b, c, d = before[k], points[i][k], points[i + 1][k], after[k]
      out[k] = 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t ^ 2
         + (3 * b - a - 3 * c + d) * t ^ 3)
   end
   return out[1], out[2]
end

--- A writer draws a gesture: a list of {dx, dy, pen}.
local function write(generator, writer, gesture)
   local steps, x, y = {}, nil, nil
   for _, stroke in ipairs(gesture) do
      local points = by_hand(generator, writer, stroke)
      local count = math.max(3, math.floor(writer.points * (#points - 1) * between(generator, 0.8, 1.2)))
      for k = 0, count do
         local to_x, to_y = curve(points, (#points - 1) * (k / count) ^ writer.rush)
         to_x, to_y = to_x + writer.tremor * generator:normal(), to_y + writer.tremor * generator:normal()
         if x then
            steps[#steps + 1] = { to_x - x, to_y - y, k > 0 and 1 or 0 }
         end
         x, y = to_x, to_y
      end
   end
   return steps
end

--- A set of gestures, each drawn once by each of some writers: `images` [N,T,3], padded (what samplers and
-- metrics call images may be sequences), `lengths`, `labels`, `classes`, and `steps`, the lists.
local function draw_set(gestures, writers, seed)
   local generator = siamese.Generator(seed)
   local set, hands, tensors, labels = { classes = {}, steps = {} }, {}, {}, {}
   for w = 1, writers do
      hands[w] = make_writer(generator)
   end
   for c = 1, gestures do
      local gesture = draw_gesture(generator)
      set.classes[c] = ("gesture%03d"):format(c)
      for _, writer in ipairs(hands) do
         local steps = write(generator, writer, gesture)
         local at = #labels + 1
         set.steps[at], tensors[at], labels[at] = steps, siamese.tensor(steps), c
      end
   end
   set.images, set.lengths = models.pad_sequences(tensors)
   set.labels = siamese.tensor(labels, { dtype = "int64" })
   return set
end

-- 2. Training.

--- The sequences of a batch, no longer than its longest, each turned and stretched a little as a whole.
local function gather(set, indices)
   local longest = math.tointeger(set.lengths:index_select(1, indices):max():item())
   local x = set.images:index_select(1, indices):narrow(2, 1, longest)
   local same, spread = { { 1, 0, 0 }, { 0, 1, 0 }, { 0, 0, 1 } }, { { 1, 1, 0 }, { 1, 1, 0 }, { 0, 0, 0 } }
   local change = siamese.randn(indices:size(1), 3, 3) * siamese.tensor(spread) * 0.15
   return siamese.matmul(x, siamese.tensor(same) + change)
end

local function fit(twin, o, label, batches, objective)
   local result = assert(siamese.fit{ model = twin, data = batches, objective = objective, steps = o.steps,
      optimizer = siamese.optim.AdamW(twin:parameters(), { lr = 5e-3 }), schedule = "cosine", warmup = 20,
      clip_norm = 5, progress = label })
   print(("%s: trained on %d sequences, %.0f a second"):format(label, result.images,
      result.images / result.seconds))
   return twin:eval()
end

local function train_on_batches(train, o)
   siamese.manual_seed(o.seed)
   local twin = siamese.Twin{ distance = "cosine", encoder = models.sequence_encoder{ in_features = 3,
      cell = o.cell, hidden_size = 64, bidirectional = true } }
   local loss = siamese.losses.NTXent{}
   return fit(twin, o, "batches", function()
      return data.class_batches(train, { classes = 20, samples = 4, seed = o.seed })
   end, function(indices, labels)
      return loss(twin:embed(gather(train, indices)), labels), indices:size(1)
   end)
end

local function train_on_pairs(train, o)
   siamese.manual_seed(o.seed)
   local twin = siamese.Twin{ distance = "l1", encoder = models.sequence_encoder{ in_features = 3,
      cell = o.cell, hidden_size = 50, forget_bias = o.cell == "lstm" and 2.5 or nil } }
   return fit(twin, o, "manhattan", function()
      return data.pairs(train, { batch_size = 40, seed = o.seed })
   end, function(a, b, same)
      local n = a:size(1)
      local h = twin:embed(gather(train, siamese.cat({ a, b }, 1)))
      local similarity = (-twin.measure(h:narrow(1, 1, n), h:narrow(1, n + 1, n))):exp()
      return (similarity - same):square():mean(), 2 * n
   end)
end

-- 3. Without training.

--- The pen's positions {x, y}, centred, of mean square distance 1 from there.
local function positions(steps)
   local points, x, y, mean_x, mean_y, square = { { 0, 0 } }, 0, 0, 0, 0, 0
   for _, step in ipairs(steps) do
      x, y = x + step[1], y + step[2]
      points[#points + 1] = { x, y }
      mean_x, mean_y = mean_x + x, mean_y + y
   end
   mean_x, mean_y = mean_x / #points, mean_y / #points
   for _, p in ipairs(points) do
      p[1], p[2] = p[1] - mean_x, p[2] - mean_y
      square = square + p[1] ^ 2 + p[2] ^ 2
   end
   local scale = 1 / math.sqrt(square / #points)
   for _, p in ipairs(points) do
      p[1], p[2] = p[1] * scale, p[2] * scale
   end
   return points
end

--- `count` points at equal distances along a path, as one list.
local function resample(points, count)
   local along, out, at = { 0 }, {}, 1
   for i = 2, #points do
      along[i] = along[i - 1] + math.sqrt((points[i][1] - points[i - 1][1]) ^ 2
         + (points[i][2] - points[i - 1][2]) ^ 2)
   end
   for k = 0, count - 1 do
      local wanted = along[#along] * k / (count - 1)
      while at < #points - 1 and along[at + 1] < wanted do
         at = at + 1
      end
      local length = along[at + 1] - along[at]
      local t = length > 0 and math.min(1, (wanted - along[at]) / length) or 0
      for c = 1, 2 do
         out[#out + 1] = points[at][c] + t * (points[at + 1][c] - points[at][c])
      end
   end
   return out
end

--- Dynamic time warping: the least sum of distances over all ways to walk along both paths at once, over
-- the sum of their lengths (Sakoe and Chiba 1978, symmetric form).
local function warp_distance(a, b)
   local sqrt, min, above = math.sqrt, math.min, { [0] = 0 }
   for j = 1, #b do
      above[j] = math.huge
   end
   for i = 1, #a do
      local row, x, y = { [0] = math.huge }, a[i][1], a[i][2]
      for j = 1, #b do
         local dx, dy = x - b[j][1], y - b[j][2]
         local d = sqrt(dx * dx + dy * dy)
         row[j] = min(above[j] + d, row[j - 1] + d, above[j - 1] + 2 * d)
      end
      above = row
   end
   return above[#b] / (#a + #b)
end

-- 4. The test.

--- One-shot answers and verification by the distances [N,N] of all sequences.
local function report(name, set, matrix)
   local n = matrix:size(1)
   local every = { images = siamese.arange(1, n + 1, { dtype = "int64" }):unsqueeze(2), labels = set.labels,
      classes = set.classes }
   local function between_sequences(query, support)
      return matrix:index_select(1, query:squeeze(2)):index_select(2, support:squeeze(2))
   end
   local cells = { ("%-28s"):format(name) }
   for _, way in ipairs{ 5, 20 } do
      local result = metrics.few_shot(every, { way = way, episodes = 400, seed = 1,
         embed = function(x) return x end, distance = between_sequences })
      cells[#cells + 1] = ("%6.1f %% +- %.1f"):format(100 * result.accuracy, 100 * result.interval)
   end
   local distances, same, labels = {}, {}, set.labels:totable()
   local rows = matrix:totable()
   for i = 1, n do
      for j = i + 1, n do
         distances[#distances + 1], same[#same + 1] = rows[i][j], labels[i] == labels[j] and 1 or 0
      end
   end
   cells[#cells + 1] = ("%10.4f %8.1f %%"):format(metrics.auc(distances, same),
      100 * metrics.equal_error_rate(distances, same))
   print(table.concat(cells))
end

--- Distances [N,N] of vectors [N,D]; `distance` "l1" or "l2".
local function matrix_of(vectors, distance)
   return siamese.no_grad(siamese.nn.functional.cdist, vectors, vectors, { p = distance == "l1" and 1 or 2 })
end

local function twin_matrix(twin, set)
   local vectors = metrics.embed_all(function(x) return twin:embed(x) end, set.images)
   if twin.distance_name == "cosine" then
      vectors = siamese.nn.functional.normalize(vectors, 2)
   end
   return matrix_of(vectors, twin.distance_name)
end

local function warp_matrix(set)
   local paths, rows = {}, {}
   for i, steps in ipairs(set.steps) do
      paths[i], rows[i] = positions(steps), {}
      for j = 1, i do
         rows[i][j] = i == j and 0 or warp_distance(paths[i], paths[j])
         rows[j][i] = rows[i][j]
      end
   end
   return siamese.tensor(rows)
end

local function points_matrix(set)
   local rows = {}
   for i, steps in ipairs(set.steps) do
      rows[i] = resample(positions(steps), 32)
   end
   return matrix_of(siamese.tensor(rows), "l2")
end

local o = parse(arg)
if o.threads > 0 then
   siamese.set_threads(o.threads)
end
local began = siamese.clock()
local train, test = draw_set(400, 16, 2 * o.seed), draw_set(30, 8, 2 * o.seed + 1)
print(("%d sequences of %d gestures to train on, %d of %d others by other writers to test on, %d to %d steps")
   :format(#train.steps, #train.classes, #test.steps, #test.classes, test.lengths:min():item(),
   test.lengths:max():item()))
local batches, manhattan = train_on_batches(train, o), train_on_pairs(train, o)
print(("%-28s%15s%15s%12s%11s"):format("gestures never seen", "5-way one-shot", "20-way", "AUC", "EER"))
report("twin, batches, cosine", test, twin_matrix(batches, test))
report("twin, pairs, manhattan", test, twin_matrix(manhattan, test))
report("dynamic time warping", test, warp_matrix(test))
report("32 points along the path", test, points_matrix(test))
local similarity = siamese.no_grad(manhattan.similarity, manhattan, test.images:narrow(1, 1, 2),
   siamese.cat({ test.images:narrow(1, 2, 1), test.images:narrow(1, 9, 1) }, 1))
print(("similarity exp(-|h_a - h_b|_1) of two writers' gesture001: %.3f, of gesture001 and gesture002: %.3f")
   :format(similarity[1]:item(), similarity[2]:item()))
print(("total time: %.0f seconds"):format(siamese.clock() - began))
