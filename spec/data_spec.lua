local siamese = require "siamese"
local data = require "siamese.data"
local files = require "spec.support_files"
local metrics = require "siamese.metrics"

local root

before_each(function() root = files.temp_folder() end)
after_each(function() files.remove(root) end)

--- Writes root/CLASS/N.pgm with the grey 10 * class + n.
local function write_classes(classes, samples, width, height)
   for class = 1, classes do
      local folder = ("%s/class%02d"):format(root, class)
      files.make_folder(folder)
      for n = 1, samples do
         files.write(("%s/%02d.pgm"):format(folder, n),
            files.flat_pgm(width or 4, height or 3, 10 * class + n))
      end
   end
end

describe("a folder of class folders", function()
   it("becomes a data set, classes and pictures in the order of their names", function()
      write_classes(3, 2)
      files.write(root .. "/notes.txt", "not a class")
      files.write(root .. "/class01/notes.txt", "not a picture")
      files.make_folder(root .. "/.hidden")
      local set = assert(data.folder(root))
      assert.are.same({ 6, 1, 3, 4 }, set.images.shape)
      assert.are.equal("uint8", set.images.dtype)
      assert.are.same({ "class01", "class02", "class03" }, set.classes)
      assert.are.same({ 1, 1, 2, 2, 3, 3 }, set.labels:totable())
      assert.are.same({ 11, 12, 21, 22, 31, 32 },
         set.images:select(3, 1):select(3, 1):flatten():totable())
      assert.are.equal(root .. "/class01/01.pgm", set.paths[1])
      assert.are.same({}, set.skipped)
   end)

   it("resizes, inverts, and gives RGB and float32 when asked to", function()
      write_classes(1, 1, 8, 6)
      local set = assert(data.folder(root, { size = { 3, 4 }, channels = 3, dtype = "float32",
         invert = true }))
      assert.are.same({ 1, 3, 3, 4 }, set.images.shape)
      assert.is_true(math.abs(set.images[{ 1, 2, 2, 2 }]:item() - (255 - 11) / 255) < 1e-6)
   end)

   it("lists pictures that cannot be read, or fails by name when told to", function()
      write_classes(2, 2)
      files.write(root .. "/class01/00.png", "this is no picture")
      local set = assert(data.folder(root))
      assert.are.equal(4, #set)
      assert.are.equal(1, #set.skipped)
      assert.are.equal(root .. "/class01/00.png", set.skipped[1].path)
      assert.matches("00.png", set.skipped[1].message, 1, true)
      local none, message = data.folder(root, { on_error = "raise" })
      assert.is_nil(none)
      assert.matches("class01/00.png", message, 1, true)
   end)

   it("wants one size, or to be told which", function()
      write_classes(1, 2)
      files.write(root .. "/class01/03.pgm", files.flat_pgm(5, 3, 0))
      local set = assert(data.folder(root))
      assert.are.equal(1, #set.skipped)
      assert.matches("03.pgm: 3 x 5 pixels, expected 3 x 4", set.skipped[1].message, 1, true)
      assert.are.equal(3, #assert(data.folder(root, { size = 4 })))
   end)

   it("that is missing or empty gives nil and a message", function()
      local set, message = data.folder(root .. "/nowhere")
      assert.is_nil(set)
      assert.matches("nowhere: No such file or directory", message, 1, true)
      set, message = data.folder(root)
      assert.is_nil(set)
      assert.matches("no pictures in folders of classes", message, 1, true)
   end)

   it("rejects unknown options by name", function()
      assert.error_matches(function() data.folder(root, { sizes = 3 }) end, "sizes")
      assert.error_matches(function()
         write_classes(1, 1)
         data.folder(root, { on_error = "ignore" })
      end, "on_error must be 'skip', 'raise' or a function, got 'ignore'")
   end)
end)

describe("Omniglot's layout", function()
   local function write_omniglot()
      for _, character in ipairs{ "Greek/character01", "Greek/character02", "Latin/character01" } do
         files.make_folder(root .. "/" .. character)
         for drawer = 1, 3 do
            files.write(("%s/%s/0007_%02d.png"):format(root, character, drawer),
               files.pgm(2, 1, function(x) return x * 255 end))
         end
      end
   end

   it("knows alphabets and drawers, and makes ink bright", function()
      write_omniglot()
      local set = assert(data.omniglot(root))
      assert.are.same({ "Greek/character01", "Greek/character02", "Latin/character01" }, set.classes)
      assert.are.same({ "Greek", "Greek", "Latin" }, set.alphabets)
      assert.are.same({ 1, 2, 3, 1, 2, 3, 1, 2, 3 }, set.drawers)
      assert.are.same({ { { 255, 0 } } }, set.images[1]:totable())
      local train, test = data.split_classes(set, { 1, 1 }, { groups = set.alphabets })
      assert.are.equal(3, #train.classes + #test.classes)
   end)

   it("says so when a folder holds something else", function()
      local set, message = data.omniglot(root)
      assert.is_nil(set)
      assert.matches("ALPHABET/characterNN/IIII_DD.png", message, 1, true)
   end)

   local function write_run(labels)
      files.make_folder(root .. "/run01/training")
      files.make_folder(root .. "/run01/test")
      for i = 1, 2 do
         files.write(("%s/run01/training/class%02d.png"):format(root, i),
            files.flat_pgm(2, 2, 100 * i))
         files.write(("%s/run01/test/item%02d.png"):format(root, i), files.flat_pgm(2, 2, 90 * i))
      end
      files.write(root .. "/run01/class_labels.txt", labels)
   end

   it("reads one-shot runs and their answers", function()
      write_run("run01/test/item01.png run01/training/class02.png\n"
         .. "run01/test/item02.png run01/training/class01.png\n")
      local runs = assert(data.omniglot_runs(root))
      assert.are.equal(1, #runs)
      assert.are.equal("run01", runs[1].name)
      assert.are.same({ 2, 1, 2, 2 }, runs[1].training.shape)
      assert.are.same({ 2, 1 }, runs[1].answers:totable())
      assert.are.equal(0, metrics.lake_runs(runs, metrics.pixels).accuracy)
   end)

   it("explains runs that are broken", function()
      write_run("run01/test/item01.png run01/training/class02.png\n")
      local runs, message = data.omniglot_runs(root)
      assert.is_nil(runs)
      assert.matches("no training picture for item02.png", message, 1, true)
      write_run("hello\n")
      runs, message = data.omniglot_runs(root)
      assert.is_nil(runs)
      assert.matches("cannot understand the line 'hello'", message, 1, true)
      os.remove(root .. "/run01/class_labels.txt")
      runs, message = data.omniglot_runs(root)
      assert.is_nil(runs)
      assert.matches("class_labels.txt", message, 1, true)
   end)
end)

describe("the ORL layout", function()
   it("orders people and pictures by number", function()
      for person = 1, 11 do
         files.make_folder(("%s/s%d"):format(root, person))
         for picture = 1, 10 do
            files.write(("%s/s%d/%d.pgm"):format(root, person, picture),
               files.flat_pgm(2, 2, 10 * person + picture))
         end
      end
      local set = assert(data.orl(root))
      assert.are.equal("s2", set.classes[2])
      assert.are.equal("s11", set.classes[11])
      assert.are.equal(20, set.images[{ 10, 1, 1, 1 }]:item())
   end)
end)

describe("idx files", function()
   local function write_idx(images, labels)
      files.write(root .. "/images", images)
      files.write(root .. "/labels", labels)
      return data.idx(root .. "/images", root .. "/labels")
   end

   it("become a data set with labels counted from 1", function()
      local set = assert(write_idx(files.idx({ 2, 1, 3 }, "\1\2\3\4\5\6"), files.idx({ 2 }, "\0\2")))
      assert.are.same({ { { { 1, 2, 3 } } }, { { { 4, 5, 6 } } } }, set.images:totable())
      assert.are.same({ 1, 3 }, set.labels:totable())
      assert.are.same({ "0", "1", "2" }, set.classes)
   end)

   it("that lie or are cut short give nil and a message", function()
      local good = files.idx({ 2 }, "\0\1")
      local cases = {
         { files.idx({ 2, 1, 3 }, "\1\2\3"), good, "the idx header says [2,1,3], but 3 values follow" },
         { files.idx({ 1 << 31, 1 << 31, 1 << 31 }, ""), good, "but 0 values follow" },
         { files.idx({ 2, 3 }, "\1\2\3\4\5\6"), good, "expected images [N,H,W]" },
         { "hello", good, "not an idx file" },
         { "", good, "not an idx file" },
         { "\0\0\8\3\0", good, "the idx header is broken" },
         { "\0\0\8\0", good, "the idx header is broken" },
         { "\0\0\13\1\0\0\0\0", good, "idx values of type 0x0D, expected bytes (0x08)" },
         { files.idx({ 2, 1, 1 }, "\1\2"), files.idx({ 3 }, "\0\1\2"), "expected 2 labels" },
      }
      for _, case in ipairs(cases) do
         local set, message = write_idx(case[1], case[2])
         assert.is_nil(set)
         assert.matches(case[3], message, 1, true)
         assert.matches(root, message, 1, true)
      end
      assert.is_nil(data.idx(root .. "/nothing", root .. "/labels"))
   end)

   it("are unpacked when packed by gzip, and refused when that is broken", function()
      local plain = files.idx({ 3, 2, 2 }, ("abcd"):rep(3))
      files.write(root .. "/labels", files.idx({ 3 }, "\0\0\1"))
      files.write(root .. "/images", plain)
      if not os.execute(("gzip -k '%s/images' 2>/dev/null"):format(root)) then
         pending("gzip is not installed")
         return
      end
      local path = root .. "/images.gz"
      local set = assert(data.idx(path, root .. "/labels"))
      assert.are.equal(3, #set)
      local file = assert(io.open(path, "rb"))
      local packed = file:read("a")
      file:close()
      local n = #packed
      for _, broken in ipairs{
         packed:sub(1, n - 1), packed:sub(1, 12), packed:sub(1, 2),
         packed:sub(1, n - 8) .. "\0\0\0\0" .. packed:sub(n - 3),
         packed:sub(1, n - 4) .. "\255\255\255\1", packed:sub(1, n - 12) .. packed:sub(n - 7),
      } do
         files.write(path, broken)
         local none, message = data.idx(path, root .. "/labels")
         assert.is_nil(none)
         assert.matches("images.gz: ", message, 1, true)
      end
      files.write(path, packed)
      local none, message = data.idx(path, root .. "/labels", { max_bytes = 20 })
      assert.is_nil(none)
      assert.matches("more than the limit of 20", message, 1, true)
   end)
end)

describe("a folder's listing", function()
   it("is sorted and knows files from folders", function()
      files.make_folder(root .. "/b")
      files.write(root .. "/a", "")
      files.write(root .. "/.c", "")
      local names, kinds = siamese.list_folder(root)
      assert.are.same({ ".c", "a", "b" }, names)
      assert.are.same({ "file", "file", "folder" }, kinds)
      assert.are.equal("folder", siamese.path_kind(root))
      assert.are.equal("none", siamese.path_kind(root .. "/nothing"))
   end)
end)

describe("real data", function()
   it("Omniglot's background set has 964 characters by 20 drawers", function()
      local path, why = files.real_data("omniglot/images_background")
      if not path then
         pending(why)
         return
      end
      local set = assert(data.omniglot(path, { size = 28, on_error = "raise" }))
      assert.are.same({ 19280, 1, 28, 28 }, set.images.shape)
      assert.are.equal(964, #set.classes)
      local ink = set.images:float():mean():item() / 255
      assert.is_true(ink > 0.03 and ink < 0.15)
   end)

   it("the one-shot runs are read, and pixels do as badly as they should", function()
      local path, why = files.real_data("omniglot/all_runs")
      if not path then
         pending(why)
         return
      end
      local runs = assert(data.omniglot_runs(path, { size = 28 }))
      assert.is_true(#runs >= 10)
      local accuracy = metrics.lake_runs(runs, metrics.pixels).accuracy
      assert.is_true(accuracy > 0.1 and accuracy < 0.5)
   end)

   it("the ORL faces are 40 people by 10 pictures of 112 x 92", function()
      local path, why = files.real_data("orl_faces")
      if not path then
         pending(why)
         return
      end
      local set = assert(data.orl(path, { on_error = "raise" }))
      assert.are.same({ 400, 1, 112, 92 }, set.images.shape)
      assert.are.equal(40, #set.classes)
   end)

   it("Fashion-MNIST's test set is read from Debian's gzip files", function()
      local folder = "/usr/share/datasets/fashion-mnist"
      if siamese.path_kind(folder) ~= "folder" then
         pending("dataset-fashion-mnist is not installed")
         return
      end
      local set = assert(data.idx(folder .. "/t10k-images-idx3-ubyte.gz",
         folder .. "/t10k-labels-idx1-ubyte.gz"))
      assert.are.same({ 10000, 1, 28, 28 }, set.images.shape)
      assert.are.equal(10, #set.classes)
      for _, members in ipairs(set:members()) do
         assert.are.equal(1000, #members)
      end
   end)
end)
