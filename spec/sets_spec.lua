--- Data sets of all kinds: streams, archives, labels as names; files that are wrong.
local siamese = require "siamese"
local data = require "siamese.data"
local files = require "spec.support_files"
local support = require "spec.support"

local fails = support.fails
local root

before_each(function() root = files.temp_folder() end)
after_each(function()
   files.remove(root)
   collectgarbage()
end)

local function write(name, width, height, grey)
   files.write(root .. "/" .. name, files.flat_pgm(width, height, grey))
end

--- The upper left pixels.
local function greys(set)
   return set.images:select(4, 1):select(3, 1):select(2, 1):flatten():totable()
end

local function write_classes(classes, samples)
   for class = 1, classes do
      files.make_folder(("%s/c%d"):format(root, class))
      for n = 1, samples do
         write(("c%d/%d.pgm"):format(class, n), 3, 2, 10 * class + n)
      end
   end
end

describe("labels", function()
   local function set(labels, classes)
      return data.set{ images = siamese.zeros(#labels, 1, 2, 2), labels = labels, classes = classes }
   end

   it("may be names, which become classes in order", function()
      local s = set{ "owl", "cat", "owl", "dog" }
      assert.same({ "cat", "dog", "owl" }, s.classes)
      assert.same({ 3, 1, 3, 2 }, s.labels:totable())
      assert.same({ 1, 1, 2 }, s:counts())
      assert.same({ 2, 1, 2 }, set({ "b", "a", "b" }, { "a", "b", "c" }).labels:totable())
   end)

   it("may be any numbers where nobody names the classes, in numerical order", function()
      local s = set{ 10, 9, 200, 9 }
      assert.same({ "9", "10", "200" }, s.classes)
      assert.same({ 2, 1, 3, 1 }, s.labels:totable())
      assert.same({ "1", "2", "10" }, set{ "10", "2", "1" }.classes)
   end)

   it("that do not fit are refused", function()
      fails("data set: label 2 is 'x', which is not among the 1 classes", set, { "a", "x" }, { "a" })
      fails("data set: labels must be all numbers or all strings", set, { "a", 1 })
      fails("data set: label 1 is a boolean", set, { true })
      fails("data set: label 2 is not a number", set, { 1, 0 / 0 })
      fails("data set: labels must be a list or an int64 tensor, got nil", data.set,
         { images = siamese.zeros(1, 1, 2, 2) })
   end)
end)

describe("a set in words", function()
   it("names few classes with their counts and sums up many", function()
      local labels = {}
      for class = 1, 9 do
         for _ = 1, class do
            labels[#labels + 1] = "k" .. class
         end
      end
      local s = data.set{ images = siamese.zeros(45, 1, 2, 3), labels = labels }
      assert.equal("Data set: 45 images 1x2x3 (float32) of 9 classes, 1 to 9 each", tostring(s))
      assert.equal("Data set: 3 images 1x2x3 (float32) of 2 classes (k1 1, k2 2)",
         tostring(s:select_classes{ "k1", "k2" }))
      local summary = s:summary(2)
      assert.equal(tostring(s) .. "\n  k1  1\n  k2  2\n  ... and 7 more", summary)
      assert.equal(10, select(2, s:summary():gsub("[^\n]+", "")))
      assert.equal("Data set: 0 images 1x2x3 (float32) of 9 classes, 0 each", tostring(s:subset{}))
   end)
end)

describe("a stream", function()
   it("is what the set in memory is, but for its images", function()
      write_classes(3, 2)
      local memory, stream = assert(data.folder(root)), assert(data.folder(root, { stream = true }))
      assert.same(memory.paths, stream.paths)
      assert.same(memory.classes, stream.classes)
      assert.same({ 1, 2, 3 }, stream:shape())
      assert.same(memory:shape(), stream:shape())
      assert.equal(6, #stream)
      assert.is_true(stream:streams() and not memory:streams())
      local x, y = stream:batch{ 5, 1 }
      local want, labels = memory:batch{ 5, 1 }
      assert.is_true(x == want and y == labels)
      assert.equal("Data set: 6 images 1x2x3 (in files) of 3 classes (c1 2, c2 2, c3 2)", tostring(stream))
      local part = stream:subset{ 6, 2 }:select_classes{ 3 }
      assert.is_true(part:batch{ 1 } == memory:batch{ 6 })
      assert.is_nil(stream.images)
      local loaded = assert(stream:load())
      assert.is_true(loaded.images == memory.images)
      assert.equal(loaded, loaded:load())
      assert.same({}, stream:verify())
      assert.same({}, memory:verify())
   end)

   it("splits, samples and mines as any set does", function()
      write_classes(4, 3)
      local stream = assert(data.folder(root, { stream = true }))
      local train, test = data.split_classes(stream, { 3, 1 }, { seed = 1 })
      assert.equal(9, #train)
      assert.equal(3, #test)
      local a, b = data.split_samples(stream, { 2, 1 }, { seed = 1 })
      assert.same({ 8, 4 }, { #a, #b })
      for indices, labels in data.class_batches(train, { classes = 3, samples = 3, batches = 2 }) do
         local _, want = train:batch(indices)
         assert.is_true(want == labels)
      end
   end)

   it("is evaluated, previewed and embedded as any set is", function()
      write_classes(4, 3)
      local memory, stream = assert(data.folder(root)), assert(data.folder(root, { stream = true }))
      local metrics = siamese.metrics
      assert.is_true(metrics.embed_all(metrics.pixels, stream, 5) == metrics.embed_all(metrics.pixels,
         memory))
      assert.is_true(metrics.embed_all(metrics.pixels, stream) == metrics.embed_all(metrics.pixels,
         memory.images))
      local opts = { way = 3, episodes = 20, seed = 1, embed = metrics.pixels }
      assert.same(metrics.few_shot(memory, opts), metrics.few_shot(stream, opts))
      siamese.augment.preview(stream, root .. "/seen.png",
         { transform = siamese.augment.RandomAffine{ degrees = 10 } })
      assert.is_truthy(siamese.image.load(root .. "/seen.png"))
   end)

   it("finds out its size from the first picture that can be read", function()
      write_classes(1, 3)
      files.write(root .. "/c1/0.pgm", "nothing")
      local stream = assert(data.folder(root, { stream = true }))
      assert.same({ 1, 2, 3 }, stream:shape())
      local bad = stream:verify()
      assert.equal(1, #bad)
      assert.equal(1, bad[1].index)
      assert.matches("0.pgm", bad[1].message, 1, true)
      local none, message = stream:load()
      assert.is_nil(none)
      assert.matches("0.pgm", message, 1, true)
      fails("0.pgm", function() stream:batch{ 2, 1 } end)
      os.execute(("rm '%s'/c1/[123]*"):format(root))
      none, message = data.folder(root, { stream = true })
      assert.is_nil(none)
      assert.matches("0.pgm", message, 1, true)
   end)

   it("may hold pictures of any size, for those who make them one", function()
      write_classes(1, 1)
      write("c1/2.pgm", 9, 9, 1)
      local stream = assert(data.folder(root, { stream = true, size = "any" }))
      assert.is_nil(stream:shape())
      assert.equal("Data set: 2 images of any size (in files) of 1 classes (c1 2)", tostring(stream))
      fails("any size", data.loader, stream)
      fails("any size", function() stream:batch{ 1 } end)
      fails("size = 'any' needs stream = true", data.folder, root, { size = "any" })
   end)

   it("knows what to do with files that cannot be read, and tells the loader", function()
      write_classes(1, 3)
      files.write(root .. "/c1/9.pgm", "nothing")
      local stream = assert(data.folder(root, { stream = true, on_error = "skip" }))
      for images in data.loader(stream) do
         assert.equal(3, images:size(1))
      end
   end)
end)

describe("files that are wrong", function()
   it("in a folder are skipped, fatal, or a function's affair", function()
      write_classes(2, 2)
      files.write(root .. "/c1/a.png", "")
      files.write(root .. "/c1/b.jpg", "\255\216\255\224 this is no JPEG")
      files.write(root .. "/c2/c.bmp", ("BM"):rep(100))
      local set = assert(data.folder(root))
      assert.same({ 11, 12, 21, 22 }, greys(set))
      assert.equal(3, #set.skipped)
      assert.matches("; 3 files left out$", tostring(set))
      local none, message = data.folder(root, { on_error = "raise" })
      assert.is_nil(none)
      assert.matches("c1/a.png: the file is empty", message, 1, true)
      local seen = {}
      set = assert(data.folder(root, { on_error = function(path, why)
         seen[#seen + 1] = path:match("[^/]+$")
         assert.matches(path, why, 1, true)
      end }))
      assert.equal(4, #set)
      assert.same({ "a.png", "b.jpg", "c.bmp" }, seen)
      none, message = data.folder(root, { on_error = function(path) return not path:match("b.jpg$") end })
      assert.is_nil(none)
      assert.matches("b.jpg", message, 1, true)
   end)

   it("by name are read by their content", function()
      files.make_folder(root .. "/c1")
      files.write(root .. "/c1/really a pgm.PNG", files.flat_pgm(2, 2, 7))
      files.write(root .. "/c1/.hidden.png", files.flat_pgm(2, 2, 8))
      files.write(root .. "/c1/no extension", files.flat_pgm(2, 2, 9))
      files.write(root .. "/c1/\xC3\xA4.pgm", files.flat_pgm(2, 2, 10))
      assert.same({ 7, 10 }, greys(assert(data.folder(root))))
   end)

   it("by their size are refused before memory is asked for", function()
      files.make_folder(root .. "/c1")
      files.write(root .. "/c1/a.pgm", "P5 16000 16000 255\n")
      files.write(root .. "/c1/b.pgm", "P5 16777216 16777216 255\n")
      files.write(root .. "/c1/c.pgm", files.flat_pgm(2, 2, 1))
      local set = assert(data.folder(root))
      assert.equal(1, #set)
      assert.matches("pixels are more than the limits", set.skipped[1].message, 1, true)
      set = assert(data.folder(root, { max_bytes = 64 }))
      assert.equal(1, #set)
      local none, message = data.folder(root, { max_bytes = 10 })
      assert.is_nil(none)
      assert.matches("more than", message, 1, true)
      fails("size must be an integer of at least 1", data.folder, root, { size = 0 })
      fails("a size must be from 1 to 65536", data.folder, root, { size = 1 << 40 })
   end)
end)

describe("what cannot be a path", function()
   it("is refused in the caller's line", function()
      for _, name in ipairs{ "folder", "orl", "lfw", "omniglot", "omniglot_runs", "csv", "pairs_csv",
         "idx" } do
         for text, path in pairs{ ['""'] = "", ['"x\\0y"'] = "x\0y", table = {}, number = 3 } do
            local line = debug.getinfo(1, "l").currentline + 2
            local ok, message = pcall(function()
               local set = data[name](path, name == "idx" and "labels" or nil)
               return set
            end)
            assert.is_false(ok)
            assert.equal(("spec/sets_spec.lua:%d: data.%s: expected the path of a "):format(line, name),
               message:match("^.-path of a "))
            assert.equal("got " .. text, message:match("got .*$"))
         end
      end
      fails("data.files: expected the path of a file, got number", data.files, { 3 }, { "a" })
      fails("image.load: expected the path of a file, got nil", siamese.image.load)
      fails("image.save: expected the path of a file, got \"a\\0b\"", siamese.image.save, "a\0b",
         siamese.zeros(1, 2, 2))
      fails("the path has a zero byte", siamese.core.list_folder, root .. "\0")
   end)
end)

describe("indices", function()
   it("that a set does not have are refused in the caller's line, in memory and on disk", function()
      write_classes(2, 2)
      for _, on_disk in ipairs{ false, true } do
         local set = assert(data.folder(root, { stream = on_disk }))
         for _, name in ipairs{ "batch", "subset" } do
            for _, index in ipairs{ 0, 5 } do
               local line = debug.getinfo(1, "l").currentline + 2
               local ok, message = pcall(function()
                  local part = set[name](set, { 1, index })
                  return part
               end)
               assert.is_false(ok)
               assert.equal(("spec/sets_spec.lua:%d: Set:%s: index %d is not from 1 to 4 (the images)")
                  :format(line, name, index), message)
            end
            fails(("Set:%s: expected a list of indices, [K], got a 2-D tensor"):format(name), set[name], set,
               { { 1 }, { 2 } })
         end
      end
   end)
end)

describe("classes", function()
   it("may be one, may have one picture, and samplers say what they lack", function()
      write_classes(1, 1)
      local set = assert(data.folder(root, { stream = true }))
      for images, labels in data.loader(set) do
         assert.same({ 1, 1, 2, 3 }, images.shape)
         assert.same({ 1 }, labels:totable())
      end
      fails("data.pairs: needs 1 classes with at least 2 samples each", data.pairs, set)
      fails("data.triplets: needs 1 classes with at least 2 samples each", data.triplets, set)
      fails("data.episodes: needs 5 classes", data.episodes, set)
      fails("data.all_pairs: needs 2 classes", data.all_pairs, set, { classes = 2, samples = 2 })
      for indices in data.class_batches(set, { classes = 1, samples = 3, batches = 1, replacement = true }) do
         assert.same({ 1, 1, 1 }, indices:totable())
      end
   end)

   it("may be ten thousand", function()
      local labels = {}
      for class = 1, 10000 do
         labels[2 * class - 1], labels[2 * class] = ("name%05d"):format(class), ("name%05d"):format(class)
      end
      local set = data.set{ images = siamese.zeros(20000, 1, 1, 1), labels = labels }
      assert.equal(10000, #set.classes)
      local train, test = data.split_classes(set, { 0.9, 0.1 }, { seed = 1 })
      assert.same({ 18000, 2000 }, { #train, #test })
      local sampler = data.class_batches(train, { classes = 500, samples = 2, batches = 18, seed = 1 })
      local seen = {}
      for _, y in data.loader(train, { sampler = sampler }) do
         for _, label in ipairs(y:totable()) do
            seen[label] = (seen[label] or 0) + 1
         end
      end
      assert.equal(9000, #seen)
      for a, b, same in data.loader(train, { sampler = data.pairs(train, { batches = 2 }) }) do
         assert.same({ 64, 64, 64 }, { #a, #b, #same })
      end
      assert.equal("Data set: 2000 images 1x1x1 (float32) of 1000 classes, 2 each", tostring(test))
   end)
end)

describe("an archive", function()
   local function write_zip(entries)
      files.write(root .. "/x.zip", files.zip(entries))
      return root .. "/x.zip"
   end

   local function picture(grey)
      return files.flat_pgm(3, 2, grey)
   end

   it("is a folder, whether its entries are packed or not", function()
      local path = write_zip{ { "b/2.pgm", picture(22) }, { "a/" }, { "a/1.pgm", picture(11) },
         { "b/1.pgm", picture(21), packed = files.deflated(picture(21)) }, { "a/notes.txt", "no picture" },
         { "__MACOSX/a/._1.pgm", "junk" }, { "a/._1.pgm", "junk" } }
      for _, stream in ipairs{ false, true } do
         local set = assert(data.folder(path, { stream = stream }))
         assert.same({ "a", "b" }, set.classes)
         assert.same({ path .. "/a/1.pgm", path .. "/b/1.pgm", path .. "/b/2.pgm" }, set.paths)
         assert.same({ 11, 21, 22 }, greys(assert(set:load())))
         for _, workers in ipairs{ 0, 3 } do
            for images, _, indices in data.loader(set, { workers = workers }) do
               assert.is_true(images == (set:batch(indices)))
            end
         end
      end
   end)

   it("with one folder in it stands for that folder, and folders in it can be named", function()
      local path = write_zip{ { "pictures/a/1.pgm", picture(1) }, { "pictures/b/1.pgm", picture(2) } }
      assert.same({ "a", "b" }, assert(data.folder(path)).classes)
      assert.same({ "a", "b" }, assert(data.folder(path .. "/pictures")).classes)
      assert.same({ "a", "b" }, assert(data.folder(path .. "/pictures/")).classes)
      local none, message = data.folder(path .. "/nothing")
      assert.is_nil(none)
      assert.matches("x.zip/nothing: there is no such folder in the archive", message, 1, true)
      path = write_zip{ { "only/1.pgm", picture(1) } }
      assert.same({ "only" }, assert(data.folder(path)).classes)
   end)

   it("with damaged entries names them", function()
      local path = write_zip{ { "a/1.pgm", picture(1) }, { "a/2.pgm", picture(2), crc = 5 },
         { "a/3.pgm", picture(3), packed = "\7garbage" }, { "a/4.pgm", picture(4), flags = 1 },
         { "a/5.pgm", picture(5), packed = "x", method = 14 }, { "a/6.pgm", "" },
         { "a/7.pgm", picture(7), packed = "abc", size = 1 << 24 },
         { "a/8.pgm", picture(8), packed = files.deflated(picture(8):sub(1, 9)) } }
      local set = assert(data.folder(path))
      assert.same({ 1 }, greys(set))
      local wrong = { "2.pgm: is damaged: its checksum is another", "3.pgm: the compressed data is broken",
         "4.pgm: is encrypted", "5.pgm: is compressed by a method that is not read",
            "6.pgm: the file is empty",
         "7.pgm: says that it unpacks to more than it can", "8.pgm: the compressed data is broken" }
      for i, text in ipairs(wrong) do
         assert.matches("x.zip/a/" .. text, set.skipped[i].message, 1, true)
      end
   end)

   it("that is broken, empty or none gives nil and a message", function()
      local good = files.zip{ { "a/1.pgm", picture(1) } }
      for _, text in ipairs{ "", "PK\3\4", good:sub(1, -10), ("x"):rep(100), good:sub(1, 40) } do
         files.write(root .. "/x.zip", text)
         local none, message = data.folder(root .. "/x.zip")
         assert.is_nil(none)
         assert.matches("x.zip: ", message, 1, true)
      end
      local none, message = data.folder(write_zip{})
      assert.is_nil(none)
      assert.matches("no pictures in folders of classes", message, 1, true)
   end)

   it("that shrinks or changes while it is read gives errors, never a signal", function()
      local entries = {}
      for i = 1, 50 do
         entries[i] = { ("a/%02d.pgm"):format(i), files.flat_pgm(100, 100, i) }
      end
      local path = write_zip(entries)
      local set = assert(data.folder(path, { stream = true }))
      local text = files.zip(entries)
      files.write(path, text:sub(1, 200000))
      fails("a/50.pgm: the archive has become shorter", function() set:batch{ 1, 50 } end)
      files.write(path, ("\0"):rep(#text))
      fails("a/01.pgm: is damaged", function()
         for _ in data.loader(set, { shuffle = false, workers = 2 }) do
            error("not reached")
         end
      end)
      os.remove(path)
      fails("is damaged", function() set:batch{ 1 } end)
   end)

   it("is closed when nobody uses it any more", function()
      local path = write_zip{ { "a/1.pgm", picture(1) } }
      if siamese.path_kind("/proc/self/fd") ~= "folder" then
         pending("there is no /proc here")
         return
      end
      collectgarbage()
      collectgarbage()
      local before = #siamese.list_folder("/proc/self/fd")
      for _ = 1, 200 do
         local set = assert(data.folder(path, { stream = true }))
         set:batch{ 1 }
      end
      collectgarbage()
      collectgarbage()
      assert.equal(before, #siamese.list_folder("/proc/self/fd"))
   end)
end)

describe("real data", function()
   local function archive(name)
      local path = (os.getenv("SIAMESE_DATA") or "../shared/data") .. "/" .. name
      if siamese.path_kind(path) ~= "file" then
         pending("the real data is absent: " .. name)
         return nil
      end
      return path
   end

   it("LFW's View 1 is read from its archive", function()
      local path = archive("lfw/lfw_view1_112.zip")
      if not path then
         return
      end
      local lfw = assert(data.lfw(path, { stream = true }))
      assert.equal(9407, #lfw.set)
      assert.same({ 3, 112, 112 }, lfw.set:shape())
      local train, test = assert(lfw:pairs("pairsDevTrain")), assert(lfw:pairs("pairsDevTest"))
      assert.same({ 2200, 1100, 0 }, { #train, train.same:sum():item(), #train.skipped })
      assert.same({ 1000, 500, 0 }, { #test, test.same:sum():item(), #test.skipped })
      local labels = lfw.set.labels
      for _, pairs in ipairs{ train, test } do
         assert.is_true(labels:index_select(1, pairs.a):eq(labels:index_select(1,
            pairs.b)):float() == pairs.same)
      end
      local people = assert(lfw:people("peopleDevTrain"))
      local x = people:batch{ 1, 2 }
      assert.is_true(x:mean():item() > 0.2 and x:mean():item() < 0.8)
   end)

   it("Omniglot and ORL are the same from archives and from folders", function()
      for name, case in pairs{ ["omniglot/images_background"] = { "omniglot/images_background.zip",
         data.omniglot },
         orl_faces = { "orl_faces/orl_faces.zip", data.orl } } do
         local folder, packed = files.real_data(name), archive(case[1])
         if not folder or not packed then
            return
         end
         local a = assert(case[2](folder, { size = 14, stream = true }))
         local b = assert(case[2](packed, { size = 14, stream = true }))
         assert.same(a.classes, b.classes)
         local some = siamese.Generator(1):sample(#a, 50)
         assert.is_true(a:batch(some) == b:batch(some))
      end
   end)
end)

describe("archives with random damage", function()
   it("are read or refused, nothing else", function()
      local generator = siamese.Generator(11)
      local whole = files.zip{ { "a/1.pgm", files.flat_pgm(3, 2, 9) }, { "b/" },
         { "b/1.pgm", files.flat_pgm(3, 2, 8), packed = files.deflated(files.flat_pgm(3, 2, 8)) },
         { "b/2.png", "no picture" } }
      local read, refused = 0, 0
      for _ = 1, 400 do
         local bytes = { whole:byte(1, -1) }
         for _ = 1, generator:random(3) do
            bytes[generator:random(#bytes)] = generator:random(256) - 1
         end
         local cut = generator:random(4) == 1 and generator:random(#bytes) or #bytes
         files.write(root .. "/x.zip", string.char(table.unpack(bytes, 1, cut)))
         local set, message = data.folder(root .. "/x.zip")
         if set then
            read = read + 1
            assert.is_true(#set >= 1 and #set <= 3)
            set = assert(data.folder(root .. "/x.zip", { stream = true, on_error = "skip" }))
            for images in data.loader(set, { workers = 1 }) do
               assert.same({ 1, 2, 3 }, { table.unpack(images.shape, 2) })
            end
         else
            refused = refused + 1
            assert.matches("x.zip", message, 1, true)
         end
      end
      assert.is_true(read > 50 and refused > 50)
   end)
end)
