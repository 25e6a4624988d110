--- What is wrong in the use of data and augmentation: it is named, in the line of the script that does it.
local siamese = require "siamese"
local files = require "spec.support_files"
local support = require "spec.support"

local augment, data = siamese.augment, siamese.data
local fails = support.fails
local root

before_each(function()
   root = files.temp_folder()
   for class = 1, 2 do
      files.make_folder(("%s/set/c%d"):format(root, class))
      for n = 1, 3 do
         files.write(("%s/set/c%d/%d.pgm"):format(root, class, n), files.flat_pgm(4, 4, 10 * class + n))
      end
   end
end)
after_each(function() files.remove(root) end)

local set = data.set{ images = siamese.zeros(6, 1, 2, 2), labels = { 1, 1, 1, 2, 2, 2 } }
local warp = augment.RandomAffine{ degrees = 1, seed = 1 }

local function folder(opts)
   return function()
      local got = data.folder(root .. "/set", opts)
      return got
   end
end

--- An epoch of a loader.
local function load_all(opts)
   return function()
      for _ in data.loader(set, opts) do
         error("not reached")
      end
   end
end

--- A call with some arguments, on the second line.
local function calling(f, ...)
   local given = table.pack(...)
   return function()
      local got = f(table.unpack(given, 1, given.n))
      return got
   end
end

--- By message, functions that do it on their second line.
local WRONG = {
   ["data set: expected a table with images and labels, got nil"] = calling(data.set),
   ["data set: images must be a tensor [N,C,H,W], got a nil"] = calling(data.set, {}),
   ["data set: 6 images but 1 labels"] = calling(data.set, { images = set.images, labels = { 1 } }),
   ["data.folder: size must be an integer of at least 1 or a table of two such, got 0"] = folder{ size = 0 },
   ["data.folder: size must be an integer of at least 1 or a table of two such, got {8, 8, 8}"] =
      folder{ size = { 8, 8, 8 } },
   ["data.folder: a size must be from 1 to 65536, got 1048576"] = folder{ size = 1 << 20 },
   ["data.folder: stream must be true or false, got 1"] = folder{ stream = 1 },
   ["data.folder: max_width must be an integer of at least 1, got x"] = folder{ max_width = "x" },
   ["data.folder: max_height must be an integer of at least 1, got -1"] = folder{ max_height = -1 },
   ["data.folder: max_bytes must be an integer of at least 1, got 0"] = folder{ max_bytes = 0 },
   ["data.folder: expected the path of a folder or a zip archive, got nil"] = calling(data.folder),
   ["data.files: classes must be a list of names, got 3"] = calling(data.files, {}, {}, { classes = 3 }),
   ["data.loader: seed must be an integer, got 'x'"] = load_all{ seed = "x" },
   ["data.loader: augment returned nothing: expected a tensor [N,C,H,W], got nil"] =
      load_all{ augment = function(x) x:mul(2) end },
   ["data.loader: augment returned no tensor: expected a tensor [N,C,H,W], got number"] =
      load_all{ augment = function() return 3 end },
   ["data.pairs: seed must be an integer, got 'x'"] = calling(data.pairs, set, { seed = "x" }),
   ["data.glyphs: seed must be an integer, got 'x'"] = calling(data.glyphs, { seed = "x" }),
   ["select_classes: there is no class {} (the set has 2)"] = calling(set.select_classes, set, { {} }),
   ["data.split_samples: seed must be an integer, got 1.5"] =
      calling(data.split_samples, set, { 0.5, 0.5 }, { seed = 1.5 }),
   ["Set:batch: index 1 of the list must be an integer, got 'a'"] = calling(set.batch, set, { "a" }),
   ["Set:batch: index 2 of the list must be an integer, got 1.5"] = calling(set.batch, set, { 1, 1.5 }),
   ["Set:batch: expected a list of indices [K] or an int64 tensor, got a float32 tensor"] =
      calling(set.batch, set, siamese.ones(2)),
   ["select_classes: expected a list of classes (numbers or names), got nil"] =
      calling(set.select_classes, set),
   ["augment.OneOf: unknown option 'q'"] = calling(augment.OneOf, { warp, q = 1 }),
   ["augment.OneOf: p must be a list of 1 weights"] = calling(augment.OneOf, { warp, p = 3 }),
   ["augment.RandomChoice: seed must be an integer, got 'x'"] =
      calling(augment.RandomChoice, { warp, seed = "x" }),
   ["augment.Sometimes: the probability must be a number from 0 to 1, got 2"] =
      calling(augment.Sometimes, 2, warp),
   ["augment.RandomAffine: degrees must be"] = calling(augment.RandomAffine, { degrees = "x" }),
   ["augment.preview: transform must be a transform or a function, got 3"] =
      calling(augment.preview, set, "/nowhere/x.png", { transform = 3 }),
   ["augment.preview: indices[1] must be an integer from 1 to 6 (the samples), got 99"] =
      calling(augment.preview, set, "/nowhere/x.png", { transform = warp, indices = { 99 } }),
   ["augment.preview: indices must be a list, got 1"] =
      calling(augment.preview, set, "/nowhere/x.png", { transform = warp, indices = 1 }),
}

describe("misuse of data and augmentation", function()
   it("has the position of the script's line", function()
      for text, run in pairs(WRONG) do
         local ok, message = pcall(run)
         local line = debug.getinfo(run, "S").linedefined + 1
         local wanted = ("spec/data_misuse_spec.lua:%d: %s"):format(line, text)
         assert.is_false(ok, text)
         assert.equal(wanted, message:sub(1, #wanted))
      end
   end)

   it("is named where something else than a set comes", function()
      for _, name in ipairs{ "pairs", "triplets", "hard_pairs", "all_pairs", "episodes", "class_batches",
         "batches", "split_classes", "split_samples", "k_fold" } do
         local given = name == "k_fold" and 2 or name:match("split") and { 0.5, 0.5 } or nil
         fails("expected a data set (of data.set or a loader), got nil", data[name], nil, given)
         fails("expected a data set (of data.set or a loader), got string", data[name], "x", given)
         fails("expected a data set (of data.set or a loader), got another table", data[name], {}, given)
      end
      fails("data.split_groups: expected a data set", data.split_groups, nil, { 1, 1 }, { groups = {} })
      local groups = "groups must be a list with one value a class, got 3"
      fails("data.pairs: " .. groups, data.pairs, set, { groups = 3 })
      fails("data.split_classes: " .. groups, data.split_classes, set, { 1, 1 }, { groups = 3 })
   end)

   it("is named where an epoch has no number of batches", function()
      for name, key in pairs{ pairs = "batches", triplets = "batches", hard_pairs = "batches",
         all_pairs = "batches", class_batches = "batches", episodes = "episodes" } do
         for _, value in ipairs{ -1, 0, 1.5, "x" } do
            local got = value == "x" and "'x'" or value
            fails(("data.%s: %s must be an integer of at least 1, or nil for no end, got %s"):format(name,
               key, got), data[name], set, { [key] = value })
         end
      end
   end)

   it("is named where a state is not whole", function()
      local sampler = data.pairs(set, { batches = 2, seed = 1 })
      fails("data.pairs: the state's 'done' must be a number, got nil", sampler.restore, sampler,
         { sampler = "data.pairs" })
      fails("data.pairs: the state's 'generator' must be a table, got number", sampler.restore, sampler,
         { sampler = "data.pairs", done = 0, generator = 3 })
      local once = data.batches(set, { seed = 1 })
      once()
      local state = once:state()
      state.began = nil
      fails("data.batches: the state's 'began' must be a table, got nil", once.restore, once, state)
      fails("data.batches: expected a state of its own, got nil", once.restore, once)
   end)
end)

describe("the parts of a split", function()
   it("are fractions that sum to at most 1, or whole counts", function()
      local sum = "the fractions sum to 1.8, expected at most 1"
      fails("data.split_classes: " .. sum, data.split_classes, set, { 0.9, 0.9 })
      fails("data.split_samples: " .. sum, data.split_samples, set, { 0.9, 0.9 })
      fails("data.split_samples: " .. sum, data.split_samples, set, { 0.9, 0.9 }, { stratified = false })
      fails("data.split_groups: " .. sum, data.split_groups, set, { 0.9, 0.9 },
         { groups = { 1, 1, 2, 2, 3, 3 } })
      fails("the fractions sum to 1.5", data.split_samples, set, { 1, 0.5 })
      fails("part 2 must be a whole count, as others are, got 0.5", data.split_samples, set, { 2, 0.5 })
      fails("part 1 must be a whole count", data.split_samples, set, { math.huge })
      local a, b = data.split_classes(set, { 1, 1 }, { seed = 1 })
      assert.same({ 3, 3 }, { #a, #b })
      a, b = data.split_samples(set, { 2.0, 1 })
      assert.same({ 4, 2 }, { #a, #b })
   end)
end)

describe("what has a picture's name and is no file", function()
   local here

   before_each(function()
      here = files.temp_folder()
      files.make_folder(here .. "/a")
      files.write(here .. "/a/1.pgm", files.flat_pgm(2, 2, 1))
      os.execute(("ln -s nowhere '%s/a/2.png'; mkfifo '%s/a/3.png'"):format(here, here))
   end)
   after_each(function() files.remove(here) end)

   it("is listed, or fatal, or told, as on_error says", function()
      local set1 = assert(data.folder(here))
      assert.equal(1, #set1)
      assert.same({ here .. "/a/2.png", here .. "/a/3.png" },
         { set1.skipped[1].path, set1.skipped[2].path })
      assert.matches("2.png: No such file or directory", set1.skipped[1].message, 1, true)
      assert.matches("3.png: not a file", set1.skipped[2].message, 1, true)
      local none, message = data.folder(here, { on_error = "raise" })
      assert.is_nil(none)
      assert.matches(here .. "/a/2.png: No such file", message, 1, true)
      local told = {}
      assert(data.folder(here, { on_error = function(path) told[#told + 1] = path end }))
      assert.same({ here .. "/a/2.png", here .. "/a/3.png" }, told)
      os.remove(here .. "/a/1.pgm")
      none, message = data.folder(here)
      assert.is_nil(none)
      assert.matches("2.png: No such file", message, 1, true)
   end)

   it("comes to the loader of a stream", function()
      local stream = assert(data.folder(here, { stream = true }))
      assert.equal(3, #stream)
      local loader = data.loader(stream, { on_error = "skip", workers = 1 })
      for images in loader:epoch() do
         assert.equal(1, images:size(1))
      end
      assert.equal(2, #loader.skipped)
   end)

   it("is not opened where it is a pipe", function()
      -- whoever writes into a pipe waits until it is opened for reading
      os.execute(("(timeout 20 sh -c 'echo > \"$1\"' sh '%s/a/3.png' && touch '%s/opened') >/dev/null 2>&1 &")
         :format(here, here))
      os.execute("sleep 0.3")
      assert(data.folder(here))
      os.execute("sleep 0.3")
      assert.is_nil(io.open(here .. "/opened"))
      os.execute(("timeout 5 cat '%s/a/3.png' >/dev/null"):format(here)) -- lets the writer end
   end)
end)

describe("an enormous PNG", function()
   --- A PNG's beginning; nobody reads the rest.
   local function png(width, height, depth, kind)
      return "\137PNG\r\n\26\n" .. (">I4"):pack(13) .. "IHDR"
         .. (">I4I4"):pack(width, height) .. string.char(depth, kind, 0, 0, 0) .. "\0\0\0\0"
         .. ("\0"):rep(12) .. "\0\0\0\0IEND\174B\96\130"
   end

   it("is refused with its size and the limits", function()
      local path = root .. "/huge.png"
      for _, case in ipairs{ { 20000, 20000, 8, 2 }, { 30000, 30000, 1, 0 },
         { 0x7FFFFFFF, 0x7FFFFFFF, 8, 6 },
         { 0xFFFFFFFF, 0xFFFFFFFF, 8, 6 } } do
         files.write(path, png(table.unpack(case)))
         local none, message = siamese.image.load(path)
         assert.is_nil(none)
         assert.equal(("%s: %d x %d pixels are more than the limits (16384 x 16384, 268435456 bytes)")
            :format(path, case[1], case[2]), message)
      end
      files.write(path, png(20000, 20000, 8, 2))
      local none, message = data.files({ path }, { "x" }, { max_width = 1 << 40, max_height = 1 << 40,
         max_bytes = math.maxinteger })
      assert.is_nil(none)
      assert.matches("a PNG of 20000 x 20000 pixels is larger than can be decoded (2^28 pixels)", message, 1,
         true)
      files.write(path, png(0xFFFFFFFF, 0xFFFFFFFF, 8, 2))
      none, message = data.files({ path }, { "x" }, { max_width = 1 << 40, max_height = 1 << 40,
         max_bytes = math.maxinteger })
      assert.is_nil(none)
      assert.matches("pixels are", message, 1, true)
   end)
end)
