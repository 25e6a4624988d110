--- The loader: what comes, whatever the number of workers; augmentation, states, caches.
local siamese = require "siamese"
local data = require "siamese.data"
local files = require "spec.support_files"
local loading = require "spec.support_loader"
local support = require "spec.support"

local fails = support.fails
-- luacheck: ignore 512 (loops are left on purpose)
local root

before_each(function() root = files.temp_folder() end)
after_each(function()
   files.remove(root)
   collectgarbage()
end)

local greys, record = loading.greys, loading.record

local function write_classes(classes, samples)
   loading.write_classes(root, classes, samples)
end

local function stream(opts)
   return loading.stream(root, opts)
end

describe("a loader", function()
   it("goes once through a set: images in [0,1], labels, indices", function()
      write_classes(3, 4)
      local set, seen = stream(), {}
      for images, labels, indices in data.loader(set, { batch_size = 5, seed = 1 }) do
         assert.equal("float32", images.dtype)
         assert.same({ indices:size(1), 1, 3, 4 }, images.shape)
         for i, grey in ipairs(greys(images)) do
            local index = indices[i]:item()
            assert.equal(set.labels[index]:item(), labels[i]:item())
            assert.equal(10 * labels[i]:item() + (index - 1) % 4 + 1, grey)
            seen[index] = (seen[index] or 0) + 1
         end
      end
      assert.same({ 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1 }, seen)
   end)

   it("gives the bits that the set in memory gives, resized and inverted, cached and not", function()
      for class = 1, 3 do
         files.make_folder(root .. "/" .. class)
         for n = 1, 5 do
            files.write(("%s/%d/%d.pgm"):format(root, class, n), files.pgm(9 + n, 8, function(x, y)
               return (x * 20 * class + y * 7 * n) % 256
            end))
         end
      end
      for _, channels in ipairs{ 1, 3 } do
         local form = { size = { 5, 6 }, invert = true, channels = channels }
         local memory = assert(data.folder(root, form))
         local on_disk = stream(form)
         for _, cache in ipairs{ false, true, true, 200 } do
            for images, labels, indices in data.loader(on_disk, { batch_size = 4, cache = cache,
               workers = 2 }) do
               local x, y = memory:batch(indices)
               assert.is_true(x == images)
               assert.is_true(y == labels)
            end
         end
         for images, _, indices in data.loader(memory, { batch_size = 4, workers = 2 }) do
            assert.is_true(images == (memory:batch(indices)))
         end
         for images, _, indices in data.loader(on_disk, { dtype = "uint8" }) do
            assert.is_true(images == memory.images:index_select(1, indices))
         end
      end
   end)

   it("gives the same epoch with any number of workers and batches ahead", function()
      write_classes(4, 5)
      local set = stream()
      local want = record(set, { batch_size = 3, seed = 7, workers = 0 })
      assert.equal(7, #want)
      for _, workers in ipairs{ 1, 2, 5 } do
         for _, prefetch in ipairs{ 1, 2, 9 } do
            assert.same(want, record(set, { batch_size = 3, seed = 7, workers = workers,
               prefetch = prefetch }))
         end
      end
      assert.are_not.same(want, record(set, { batch_size = 3, seed = 8 }))
   end)

   it("takes pairs, triplets, classes by samples, episodes and all pairs of a batch", function()
      write_classes(4, 5)
      local set = stream()
      local labels = set.labels:totable()
      local function right(images, indices)
         for i, grey in ipairs(greys(images)) do
            local index = indices[i]:item()
            assert.equal(10 * labels[index] + (index - 1) % 5 + 1, grey)
         end
      end
      local count = 0
      for a, b, same, i, j in data.loader(set, { sampler = data.pairs(set, { batch_size = 6,
         batches = 3 }) }) do
         right(a, i)
         right(b, j)
         assert.same({ 6 }, same.shape)
         count = count + 1
      end
      for a, p, n, i, j, k in data.loader(set, { sampler = data.triplets(set, { batch_size = 6,
         batches = 3 }) }) do
         right(a, i)
         right(p, j)
         right(n, k)
         count = count + 1
      end
      local pk = data.class_batches(set, { classes = 3, samples = 2, batches = 3 })
      for images, y, indices in data.loader(set, { sampler = pk }) do
         right(images, indices)
         assert.is_true(y == set.labels:index_select(1, indices))
         count = count + 1
      end
      local episodes = data.episodes(set, { way = 3, shot = 2, queries = 1, episodes = 3 })
      for known, query, y, i, j in data.loader(set, { sampler = episodes }) do
         right(known, i)
         right(query, j)
         assert.same({ 3 }, y.shape)
         count = count + 1
      end
      local every = data.all_pairs(set, { classes = 3, samples = 2, batches = 3 })
      for images, a, b, same, indices in data.loader(set, { sampler = every }) do
         right(images, indices)
         assert.same({ 15 }, a.shape)
         assert.same({ 15 }, b.shape)
         assert.equal(3, same:sum():item())
         count = count + 1
      end
      assert.equal(15, count)
   end)

   it("takes a function of one's own, or one with several lists", function()
      write_classes(2, 3)
      local set, step = stream(), 0
      local function next_indices()
         step = step + 1
         return step <= 2 and { step, step + 1 } or nil
      end
      local got = record(set, { sampler = next_indices })
      assert.same({ 1, 1 }, got[1][2])
      assert.same({ 2, 3 }, got[2][3])
      step = 0
      local function both()
         step = step + 1
         if step <= 1 then
            return { 1, 2 }, { 5, 6 }, siamese.tensor{ 0.5, 0.25 }
         end
      end
      for a, b, weights, i, j in data.loader(set, { sampler = both, lists = 2 }) do
         assert.same({ 11, 12 }, greys(a))
         assert.same({ 22, 23 }, greys(b))
         assert.same({ 0.5, 0.25 }, weights:totable())
         assert.same({ 1, 2, 5, 6 }, { i[1]:item(), i[2]:item(), j[1]:item(), j[2]:item() })
      end
   end)

   it("calls a function of one's own for the images, in the script's thread", function()
      write_classes(2, 3)
      local set, calls = stream(), 0
      local sampler = data.pairs(set, { batch_size = 2, batches = 3 })
      for a, b in data.loader(set, { sampler = sampler, augment = function(x)
         calls = calls + 1
         return x * 0
      end }) do
         assert.equal(0, a:sum():item() + b:sum():item())
      end
      assert.equal(6, calls)
      local warp = siamese.augment.Affine{ rotation = 90, seed = 1 }
      for images in data.loader(set, { augment = warp }) do
         assert.same({ 6, 1, 3, 4 }, images.shape)
      end
   end)

   it("drops the last batch when told to, and keeps the order when told to", function()
      write_classes(1, 5)
      local got = record(stream(), { batch_size = 2, shuffle = false, drop_last = true })
      assert.same({ { 1, 2 }, { 3, 4 } }, { got[1][3], got[2][3] })
   end)

   it("is kept for many epochs, each in another order", function()
      write_classes(2, 4)
      local loader = data.loader(stream(), { batch_size = 8, seed = 1 })
      local orders = {}
      for epoch = 1, 3 do
         for _, _, indices in loader:epoch() do
            orders[epoch] = table.concat(indices:totable(), " ")
         end
      end
      assert.are_not.equal(orders[1], orders[2])
      assert.are_not.equal(orders[2], orders[3])
      local n = 0
      for _ in loader do
         n = n + 1
      end
      assert.equal(1, n)
      assert.matches("data.loader: %d+ workers, 4 batches ahead, 4 given", tostring(loader))
   end)

   it("works on sets in memory, on parts of streams, and with no batches at all", function()
      write_classes(3, 3)
      local part = stream():select_classes{ 3, 1 }
      local got = record(part, { batch_size = 6, shuffle = false })
      assert.same({ 1, 1, 1, 2, 2, 2 }, got[1][2])
      assert.same({ 31, 32, 33, 11, 12, 13 }, greys(siamese.tensor(got[1][1])))
      local images = siamese.arange(1, 7):reshape(6, 1, 1, 1):expand(6, 1, 2, 2)
      local memory = data.set{ images = images, labels = { "a", "a", "b", "b", "c", "c" } }
      local first = record(memory, { batch_size = 4, shuffle = false })[1]
      assert.same({ 1, 2, 3, 4 }, siamese.tensor(first[1]):select(4, 1):select(3, 1):flatten():totable())
      assert.same({}, record(memory:subset{}, { batch_size = 4 }))
      assert.same({}, record(memory, { sampler = function() end }))
   end)

   it("says what is wrong with its options and its lists", function()
      write_classes(1, 2)
      local set = stream()
      fails("unknown option 'batchsize'", data.loader, set, { batchsize = 3 })
      fails("expected a data set, got a string", data.loader, "set")
      fails("expected a data set", data.loader, {})
      fails("workers must be an integer of at least 0, got -1", data.loader, set, { workers = -1 })
      fails("at most 256 workers", data.loader, set, { workers = 257 })
      fails("prefetch must be an integer of at least 1", data.loader, set, { prefetch = 0 })
      fails("batch_size must be a positive integer, got 0", data.loader, set, { batch_size = 0 })
      fails("batch_size is the sampler's affair", data.loader, set, { batch_size = 2, sampler = print })
      fails("sampler must be a sampler or a function", data.loader, set, { sampler = {} })
      fails("augment must be a transform or a function", data.loader, set, { augment = 3 })
      fails("cache must be true, false or a number of bytes, got -1", data.loader, set, { cache = -1 })
      fails("on_error must be 'skip', 'raise' or a function", data.loader, set, { on_error = "stop" })
      fails("dtype must be 'float32' or 'uint8'", data.loader, set, { dtype = "int64" })
      local function run(list)
         return function()
            for _ in data.loader(set, { sampler = function() return list end }) do
               error("not reached")
            end
         end
      end
      fails("data.loader: index 2 of the list is 9, expected 1 to 2 (the pictures)", run{ 1, 9 })
      fails("index 1 of the list is 0", run{ 0 })
      fails("expected a list of indices", run(3))
      fails("expected a list of indices [K]", run(siamese.zeros(2, 2)))
      fails("batches of float32 pictures are float32", function()
         for _ in data.loader(stream{ dtype = "float32" }, { dtype = "uint8" }) do
            error("not reached")
         end
      end)
   end)

   it("blames the loop that it fails in", function()
      write_classes(1, 2)
      files.write(root .. "/class01/01.pgm", "P5 4 3 255\n")
      local set = assert(data.files({ root .. "/class01/01.pgm" }, { "a" }, { size = 2, stream = true }))
      local _, message = pcall(function()
         for _ in data.loader(set) do
            error("not reached")
         end
      end)
      assert.matches("^spec/loader_spec.lua:%d+: data.loader: .*class01/01.pgm", message)
      write_classes(1, 2)
      for want, options in pairs{
         ["augment.Compose: a function among the steps must return"] =
            { augment = siamese.augment.Compose{ function() return 3 end } },
         ["data.loader: expected a list of indices"] = { sampler = function() return "x" end },
         ["data.loader: workers must be an integer"] = { workers = -1 },
         ["data.loader: prefetch must be an integer"] = { prefetch = 0.5 },
      } do
         _, message = pcall(function()
            for _ in data.loader(stream(), options) do
               error("not reached")
            end
         end)
         assert.matches("^spec/loader_spec.lua:%d+: " .. want, message)
      end
   end)
end)

describe("augmentation by the workers", function()
   local augment = siamese.augment

   local function write_pictures()
      files.make_folder(root .. "/a")
      files.make_folder(root .. "/b")
      for n = 1, 6 do
         files.write(("%s/%s/%d.pgm"):format(root, n % 2 == 0 and "a" or "b", n), files.pgm(12, 10,
            function(x, y)
            return (x * 20 + y * 7 * n) % 256
         end))
      end
   end

   local function make(opts)
      return augment.Compose{ augment.RandomAffine{ degrees = 20, interpolation = "bilinear" },
         augment.RandomHorizontalFlip{ p = 0.5 }, augment.GaussianNoise{ sigma = 0.1 },
            seed = opts and opts.seed }
   end

   it("is what the transform gives, by the batch's number, the place and the side", function()
      write_pictures()
      local set, memory = stream(), assert(data.folder(root))
      for _, from in ipairs{ set, memory } do
         for _, workers in ipairs{ 0, 1, 3 } do
            local t, number = make{ seed = 5 }, 0
            local sampler = data.pairs(from, { batch_size = 4, batches = 6, seed = 1 })
            for a, b, _, i, j in data.loader(from, { sampler = sampler, augment = t, workers = workers }) do
               number = number + 1
               assert.is_true(a == t((memory:batch(i)), { indices = { 1, 2, 3, 4 }, epoch = number,
                  side = 0 }))
               assert.is_true(b == t((memory:batch(j)), { indices = { 1, 2, 3, 4 }, epoch = number,
                  side = 1 }))
            end
            assert.equal(6, number)
         end
      end
   end)

   it("takes the loader's seed where it has none, and other numbers each time a picture comes", function()
      write_pictures()
      local set = stream()
      local function one(seed, count)
         local out = {}
         for images in data.loader(set, { augment = make(), seed = seed, workers = 2,
            sampler = function() return { 1, 1 } end }) do
            out[#out + 1] = images
            if #out == count then
               return out
            end
         end
      end
      local first, again, other = one(1, 2), one(1, 2), one(2, 2)
      assert.is_true(first[1] == again[1] and first[2] == again[2])
      assert.is_false(first[1] == other[1])
      assert.is_false(first[1] == first[2])
      assert.is_false(first[1][1] == first[1][2])
   end)

   it("goes on with the same numbers in a loader that was resumed", function()
      write_pictures()
      local set = stream()
      local function loader()
         return data.loader(set, { batch_size = 2, seed = 3, augment = make(), workers = 2 })
      end
      local whole, want = loader(), {}
      for epoch = 1, 2 do
         for images in whole:epoch() do
            want[#want + 1] = images
         end
         assert.equal(3 * epoch, #want)
      end
      local part = loader()
      for _ in part:epoch() do
         break
      end
      local rest = loader():restore(part:state())
      local at = 1
      for _ = 1, 2 do
         for images in rest:epoch() do
            at = at + 1
            assert.is_true(want[at] == images)
         end
      end
      assert.equal(6, at)
   end)

   it("works on bytes, and makes of pictures of any size what it is told", function()
      write_pictures()
      write_classes(1, 3)
      files.write(root .. "/a/broken.pgm", "nothing")
      local set = stream{ size = "any", channels = 3 }
      local crop = augment.RandomResizedCrop{ size = { 6, 7 }, seed = 2 }
      for _, dtype in ipairs{ "uint8", "float32" } do
         for _, cache in ipairs{ false, true, true } do
            local seen = 0
            for images, labels in data.loader(set, { dtype = dtype, augment = crop, batch_size = 4,
               cache = cache,
               on_error = "skip", workers = 2, seed = 1 }) do
               seen = seen + images:size(1)
               assert.equal(dtype, images.dtype)
               assert.same({ labels:size(1), 3, 6, 7 }, images.shape)
            end
            assert.equal(9, seen)
         end
      end
      fails("any size", data.loader, set, { augment = function(x) return x end })
      fails("any size", data.loader, set, { augment = augment.Compose{ crop, function(x) return x end } })
   end)

   it("leaves functions of the script to the script's thread, with the same numbers", function()
      write_pictures()
      local set = stream()
      local shapes = 0
      local with = augment.Compose{ make(), function(x)
         shapes = shapes + #x.shape
         return x
      end, seed = 4 }
      local without = augment.Compose{ make(), seed = 4 }
      local options = { batch_size = 3, shuffle = false, seed = 1, workers = 2 }
      options.augment = with
      local a = record(set, options)
      options.augment = without
      local b = record(set, options)
      assert.same(b, a)
      assert.equal(18, shapes)
   end)

   it("says which picture a transform does not take, whatever on_error says", function()
      write_pictures()
      local set = stream()
      for _, workers in ipairs{ 0, 2 } do
         local function run(t)
            return function()
               for _ in data.loader(set, { augment = t, on_error = "skip", workers = workers,
                  shuffle = false }) do
                  error("not reached")
               end
            end
         end
         fails(".pgm: augment: the steps give", run(augment.Sometimes(0.5, augment.Pad{ padding = 2 })))
         fails("augment.RandomCrop", run(augment.RandomCrop{ size = 50 }))
      end
   end)
end)

describe("a loader's state", function()
   it("brings back the rest of the epoch, in another loader, after any batch", function()
      write_classes(3, 8)
      local set = stream()
      local function make()
         return data.loader(set, { seed = 3, workers = 2, prefetch = 3,
            sampler = data.class_batches(set, { classes = 2, samples = 2, batches = 150, seed = 4 }) })
      end
      local whole = {}
      for _, _, indices in make() do
         whole[#whole + 1] = indices:totable()
      end
      assert.equal(150, #whole)
      for _, at in ipairs{ 1, 63, 64, 65, 130, 149 } do
         local loader, n, state = make(), 0, nil
         for _ in loader:epoch() do
            n = n + 1
            if n == at then
               state = loader:state()
               break
            end
         end
         local again = make()
         again:restore(state)
         local rest = {}
         for _, _, indices in again:epoch() do
            rest[#rest + 1] = indices:totable()
         end
         assert.same(table.move(whole, at + 1, 150, 1, {}), rest)
      end
   end)

   it("counts epochs: behind the last batch of one, before its end and after it", function()
      write_classes(2, 6)
      local set = stream()
      local function make(workers, batches)
         return data.loader(set, { workers = workers, prefetch = 3,
            sampler = data.class_batches(set, { classes = 2, samples = 2, batches = batches, seed = 4 }) })
      end
      --- The next values of a loader, "end" for the end of an epoch.
      local function following(loader, count)
         local out = {}
         for i = 1, count do
            local _, _, indices = loader()
            out[i] = indices and table.concat(indices:totable(), " ") or "end"
         end
         return out
      end
      for _, workers in ipairs{ 0, 2 } do
         for _, batches in ipairs{ 1, 3, 70 } do
            local whole = following(make(workers, batches), 160)
            for at = 0, 155 do
               if batches == 3 and at < 20 or batches == 70 and at % 7 < 2 or at < 5 then
                  local loader = make(workers, batches)
                  following(loader, at)
                  local state = loader:state()
                  loader:stop()
                  assert.same(table.move(whole, at + 1, at + 5, 1, {}),
                     following(make(2 - workers, batches):restore(state), 5))
                  -- Stopped behind the last batch of an epoch, the next call begins another.
                  local from = whole[at] ~= "end" and whole[at + 1] == "end" and at > 0 and at + 2 or at + 1
                  assert.same(table.move(whole, from, from + 4, 1, {}), following(loader, 5))
               end
            end
         end
      end
   end)

   it("is plain data that goes through text", function()
      write_classes(2, 4)
      local set = stream()
      local loader = data.loader(set, { batch_size = 2, seed = 1 })
      loader()
      local json = require "siamese.json"
      local text = json.encode(loader:state())
      local _, _, want = loader()
      local other = data.loader(set, { batch_size = 2, seed = 1 })
      other:restore(json.decode(text))
      local _, _, got = other()
      assert.is_true(want == got)
   end)

   it("is refused where there is none, or it is none", function()
      write_classes(1, 2)
      local set = stream()
      fails("only the samplers of siamese.data have a state", function()
         data.loader(set, { sampler = print }):state()
      end)
      fails("expected a state of a loader", function() data.loader(set):restore{} end)
      local state = data.loader(set):state()
      fails("data.pairs: expected a state of its own, got one of data.batches", function()
         data.loader(set, { sampler = data.pairs(data.set{ images = siamese.zeros(4, 1, 2, 2),
            labels = { 1, 1, 2, 2 } }) }):restore(state)
      end)
   end)
end)

describe("a cache", function()
   it("reads each file once, as far as it reaches", function()
      write_classes(2, 4)
      local set = stream()
      for _ in data.loader(set, { cache = true }) do -- luacheck: ignore
      end
      os.execute(("rm '%s'/class*/*"):format(root))
      local got = record(set, { shuffle = false, cache = true })
      assert.same({ 11, 12, 13, 14, 21, 22, 23, 24 }, greys(siamese.tensor(got[1][1])))
      assert.same({ 12, 21 }, greys((set:batch{ 2, 5 })))
      assert.same({ 21 }, greys((set:select_classes{ "class02" }:batch{ 1 })))
   end)

   it("keeps no more than it may, and nothing unless asked", function()
      write_classes(2, 4)
      local set = stream()
      for _, limit in ipairs{ false, 60 } do
         for _ in data.loader(set, { cache = limit, workers = 2 }) do -- luacheck: ignore
         end
         assert.is_true(set.pictures:cache(0) <= (limit or 0))
      end
   end)
end)
