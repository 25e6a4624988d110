--- The loader: pictures that cannot be read, and loaders that are left in the middle.
local siamese = require "siamese"
local data = require "siamese.data"
local files = require "spec.support_files"
local loading = require "spec.support_loader"
local support = require "spec.support"

local core, fails = siamese.core, support.fails
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

--- The threads that this process has.
local function threads()
   return #core.list_folder("/proc/self/task")
end

local has_proc = siamese.path_kind("/proc/self/task") == "folder"

describe("a picture that cannot be read", function()
   local broken = { ["02.pgm"] = "", ["03.pgm"] = "P5\n4 3\n255\nabc", ["04.pgm"] = "this is no picture",
      ["05.pgm"] = "P5\n99999 99999\n255\n" }

   local function write_broken()
      write_classes(2, 6)
      for name, content in pairs(broken) do
         files.write(root .. "/class01/" .. name, content)
      end
      return stream()
   end

   it("ends the epoch with its name", function()
      local set = write_broken()
      for name in pairs(broken) do
         for _, workers in ipairs{ 0, 2 } do
            local index
            for i, path in ipairs(set.paths) do
               index = path:sub(-#name) == name and path:match("class01") and i or index
            end
            fails("class01/" .. name, function()
               for _ in data.loader(set, { workers = workers, sampler = function() return { 1,
                  index } end }) do
                  error("not reached")
               end
            end)
         end
      end
   end)

   it("is left out and listed when told to, once however often it comes", function()
      local set = write_broken()
      local loader = data.loader(set, { batch_size = 4, on_error = "skip", seed = 1 })
      for _ = 1, 3 do
         local n = 0
         for images, labels, indices in loader:epoch() do
            n = n + images:size(1)
            assert.equal(images:size(1), labels:size(1))
            for i, grey in ipairs(greys(images)) do
               local index = indices[i]:item()
               assert.equal(10 * labels[i]:item() + (index - 1) % 6 + 1, grey)
            end
         end
         assert.equal(8, n)
      end
      assert.equal(4, #loader.skipped)
      for _, item in ipairs(loader.skipped) do
         assert.is_truthy(broken[item.path:match("[^/]+$")])
         assert.matches(item.path, item.message, 1, true)
      end
   end)

   it("takes its whole pair along, and all its pairs of a batch", function()
      local set = write_broken()
      local bad = {}
      for _, item in ipairs(set:verify()) do
         bad[item.index] = true
      end
      assert.is_true(bad[2] and bad[3] and bad[4] and bad[5] and not bad[1] and not bad[6])
      local labels = set.labels:totable()
      local left = 0
      for a, b, same, i, j in data.loader(set, { on_error = "skip",
         sampler = data.pairs(set, { batch_size = 10, batches = 10, seed = 2 }) }) do
         assert.same({ a:size(1), a:size(1), a:size(1), a:size(1) },
            { b:size(1), same:size(1), i:size(1), j:size(1) })
         i, j, same = i:totable(), j:totable(), same:totable()
         for k = 1, #i do
            assert.is_nil(bad[i[k]] or bad[j[k]])
            assert.equal(labels[i[k]] == labels[j[k]] and 1 or 0, same[k])
         end
         left = left + #i
      end
      assert.is_true(left > 0 and left < 100)
      local every = data.all_pairs(set, { classes = 2, samples = 4, batches = 5, seed = 2 })
      for images, a, b, same, indices in data.loader(set, { on_error = "skip", sampler = every }) do
         local n = images:size(1)
         assert.is_true(n < 8)
         assert.same({ n * (n - 1) // 2 }, a.shape)
         assert.is_true(same == set.labels:index_select(1, indices):index_select(1, a)
            :eq(set.labels:index_select(1, indices):index_select(1, b)):float())
      end
   end)

   it("is a function's affair", function()
      local set, calls = write_broken(), {}
      for _ in data.loader(set, { on_error = function(path, message)
         calls[#calls + 1] = path:match("[^/]+$")
         assert.matches(path, message, 1, true)
      end, shuffle = false }) do -- luacheck: ignore
      end
      assert.same({ "02.pgm", "03.pgm", "04.pgm", "05.pgm" }, calls)
      fails("02.pgm", function()
         for _ in data.loader(set, { on_error = function() return false end, shuffle = false }) do
            error("not reached")
         end
      end)
      fails("my own", function()
         for _ in data.loader(set, { on_error = function() error("my own") end }) do
            error("not reached")
         end
      end)
   end)

   it("cannot be left out of an episode", function()
      local set = write_broken()
      fails("data.episodes cannot do without a picture", function()
         for _ in data.loader(set, { on_error = "skip",
            sampler = data.episodes(set, { way = 2, shot = 3, queries = 3, episodes = 5 }) }) do
            assert.is_true(true)
         end
      end)
   end)

   it("that fills a batch alone leaves no empty batch behind", function()
      local set = write_broken()
      local got = record(set, { batch_size = 1, shuffle = false, on_error = "skip" })
      assert.equal(8, #got)
   end)

   it("may be one that goes, shrinks, changes its size or comes while the set is read", function()
      write_classes(1, 6)
      local set = stream()
      local one = function(index) return function() return { index } end end
      os.remove(root .. "/class01/02.pgm")
      files.write(root .. "/class01/03.pgm", "P5\n4 3\n255\nabcdef")
      files.write(root .. "/class01/04.pgm", files.flat_pgm(5, 3, 9))
      files.write(root .. "/class01/05.pgm", files.flat_pgm(4, 3, 99))
      os.execute(("rm '%s/class01/06.pgm' && mkfifo '%s/class01/06.pgm'"):format(root, root))
      for index, text in pairs{ [2] = "02.pgm: No such file", [3] = "03.pgm: the file is truncated",
         [4] = "04.pgm: 3 x 5 pixels, expected 3 x 4", [6] = "06.pgm: not a file" } do
         fails(text, function()
            for _ in data.loader(set, { sampler = one(index) }) do
               error("not reached")
            end
         end)
         fails(text, function() set:batch{ index } end)
      end
      for images in data.loader(set, { sampler = one(5) }) do
         assert.same({ 99 }, greys(images))
         break
      end
      files.write(root .. "/class01/02.pgm", files.flat_pgm(4, 3, 7))
      assert.same({ 7 }, greys((set:batch{ 2 })))
   end)

   it("may be in a folder that is written to by another program all the time", function()
      write_classes(2, 10)
      local set = stream()
      local path = root .. "/class02/05.pgm"
      local writer = assert(io.popen(
         ("for i in 1 2 3 4 5 6 7 8 9; do for j in 1 2 3 4 5 6 7 8 9; do printf 'P5 4 3 255 ab' > '%s'; "
            .. "rm -f '%s'; cp '%s' '%s'; done; done"):format(path, path, root .. "/class02/04.pgm", path)))
      local n = 0
      for _ = 1, 60 do
         for images in data.loader(set, { batch_size = 5, on_error = "skip", workers = 2 }) do
            n = n + images:size(1)
         end
      end
      assert.is_true(n >= 60 * 19 and n <= 60 * 20)
      writer:read("a") -- waits for its end
      writer:close()
   end)
end)

describe("leaving a loader", function()
   it("a thousand times in the middle of an epoch leaves no threads, memory or files behind",
      function()
      write_classes(4, 8)
      local set = stream()
      local function leave(round)
         local options = { batch_size = 3, workers = round % 4, prefetch = 3 }
         if round % 3 == 0 then
            for _ in data.loader(set, options) do
               break
            end
         elseif round % 3 == 1 then
            pcall(function()
               for _ in data.loader(set, options) do
                  error("enough")
               end
            end)
         else
            local loader = data.loader(set, options)
            loader()
            loader()
         end
      end
      for round = 1, 40 do
         leave(round)
      end
      collectgarbage()
      collectgarbage()
      local before, threads_before = siamese.memory().live, has_proc and threads()
      local open_before = has_proc and #core.list_folder("/proc/self/fd")
      for round = 1, 1000 do
         leave(round)
      end
      collectgarbage()
      collectgarbage()
      assert.is_true(siamese.memory().live - before < 1e5)
      if has_proc then
         assert.equal(threads_before, threads())
         assert.equal(open_before, #core.list_folder("/proc/self/fd"))
      end
   end)

   it("by break, an error, return or a coroutine that is dropped stops the workers", function()
      if not has_proc then
         pending("there is no /proc here")
         return
      end
      write_classes(2, 8)
      local set = stream()
      local options = { batch_size = 2, workers = 3 }
      collectgarbage()
      collectgarbage()
      local before = threads()
      for _ in data.loader(set, options) do
         assert.equal(before + 3, threads())
         break
      end
      assert.equal(before, threads())
      pcall(function()
         for _ in data.loader(set, options) do
            error("x")
         end
      end)
      assert.equal(before, threads())
      local function first()
         for images in data.loader(set, options) do
            return images
         end
      end
      first()
      assert.equal(before, threads())
      fails("augment fails", function()
         for _ in data.loader(set, { workers = 3, augment = function() error("augment fails") end }) do
            error("not reached")
         end
      end)
      fails("sampler fails", function()
         for _ in data.loader(set, { workers = 3, sampler = function() error("sampler fails") end }) do
            error("not reached")
         end
      end)
      assert.equal(before, threads())
      local co = coroutine.wrap(function()
         for images in data.loader(set, options) do
            coroutine.yield(images)
         end
      end)
      co()
      assert.equal(before + 3, threads())
      co = nil -- luacheck: ignore
      collectgarbage()
      collectgarbage()
      assert.equal(before, threads())
   end)

   it("loses nothing: the next loop goes on behind the last batch", function()
      write_classes(3, 8)
      local set = stream()
      local whole = record(set, { batch_size = 2, seed = 5 })
      local loader = data.loader(set, { batch_size = 2, seed = 5, workers = 2, prefetch = 5 })
      local got = {}
      for round = 1, 12 do
         for _, _, indices in loader:epoch() do
            got[round] = indices:totable()
            break
         end
      end
      for round = 1, 12 do
         assert.same(whole[round][3], got[round])
      end
   end)

   it("does not wait for what was asked for ahead", function()
      write_classes(1, 4)
      local set = stream{ size = 1024 }
      local start = siamese.clock()
      for _ in data.loader(set, { workers = 2, prefetch = 64, sampler = function()
         return { 1, 2, 3, 4, 1, 2, 3, 4 }
      end }) do
         break
      end
      local left = siamese.clock() - start
      local all = siamese.clock()
      for _ = 1, 4 do
         set:batch{ 1, 2, 3, 4 }
      end
      all = (siamese.clock() - all) * 32
      assert.is_true(left < math.max(all, 2))
   end)

   it("while its memory is short raises, and all of it is given back", function()
      write_classes(1, 4)
      local set = stream{ size = 256 }
      collectgarbage()
      collectgarbage()
      local before = siamese.memory().live
      for step = 1, 40 do
         siamese.set_memory_limit(siamese.memory().live + step * 40000)
         local ok, message = pcall(function()
            for _ in data.loader(set, { batch_size = 2, workers = step % 3, cache = true }) do
               collectgarbage()
            end
         end)
         siamese.set_memory_limit(0)
         assert.is_true(ok or message:find("memory", 1, true) ~= nil, tostring(message))
      end
      set = nil -- luacheck: ignore
      collectgarbage()
      collectgarbage()
      assert.is_true(siamese.memory().live - before < 1e5)
   end)
end)
